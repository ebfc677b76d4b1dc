"""Authentication and scopes: a bearer key for programs, a session cookie for browsers."""

from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer

from service.api.context import Context
from service.api.credentials import Principal
from service.db.repositories.audit import Actor
from service.request_errors import CrossSiteError, ForbiddenError, UnauthenticatedError
from service.states import Scope

COOKIE = "tandemcal_session"
SIGN_IN = frozenset({"/login", "/v1/session"})  # paths where a key comes in the body
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_bearer = HTTPBearer(auto_error=False, description="A key: Authorization: Bearer tcal_...")


async def find_principal(request: Request, context: Context) -> Principal:
    """Return whose request this is, by its bearer key or its session cookie.

    Raises UnauthenticatedError, and CrossSiteError if a page of another site uses the cookie.
    """
    if header := request.headers.get("authorization"):
        scheme, _, key = header.partition(" ")
        found = (
            await context.credentials.by_key(key.strip()) if scheme.lower() == "bearer" else None
        )
    else:
        cookie = request.cookies.get(COOKIE)
        found = await context.credentials.by_cookie(cookie) if cookie else None
        if found is not None:
            refuse_foreign_pages(request)
    if found is None:
        raise UnauthenticatedError
    return found


async def authenticate(
    request: Request, _documented: Annotated[Any, Depends(_bearer)] = None
) -> Principal:
    """Return whom the gate found. Raises UnauthenticatedError if it found nobody."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise UnauthenticatedError
    return principal


PrincipalDep = Annotated[Principal, Depends(authenticate)]


def scopes_of(request: Request) -> frozenset[Scope]:
    """Return the scopes of the key of this request; none without a valid key."""
    principal: Principal | None = getattr(request.state, "principal", None)
    return principal.scopes if principal else frozenset()


async def actor_of(request: Request) -> Actor:
    """Return who makes this request, for the audit trail: its key, if any, and its address."""
    principal: Principal | None = getattr(request.state, "principal", None)
    return Actor(principal.key_id if principal else None, address_of(request))


ActorDep = Annotated[Actor, Depends(actor_of)]


def address_of(request: Request) -> str:
    """Return the address of the client; behind a trusted proxy, the one that the proxy names."""
    return request.client.host[:60] if request.client else ""


def needs_key(path: str) -> bool:
    """Tell whether a path is of the API, where all but signing in needs a key."""
    return path.startswith("/v1/") and path not in SIGN_IN


def require_any(*scopes: Scope) -> Any:
    """Return a dependency that raises ForbiddenError unless the key has one of these scopes."""

    async def check(principal: PrincipalDep) -> None:
        check_scope(principal, *scopes)

    return Depends(check)


def check_scope(principal: Principal, *scopes: Scope) -> None:
    """Raise ForbiddenError unless the key has one of these scopes."""
    if principal.scopes.isdisjoint(scopes):
        raise ForbiddenError(scopes[0])


READ = require_any(Scope.READ)
OPERATE = require_any(Scope.OPERATE)
ADMIN = require_any(Scope.ADMIN)
AGENT = require_any(Scope.AGENT)


def refuse_foreign_pages(request: Request) -> None:
    """Raise CrossSiteError if a page of another site asks for a change.

    A browser sends the session cookie with requests from any page.
    """
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host')}"
    if site != "same-origin" if site is not None else origin != own:
        raise CrossSiteError


def set_session_cookie(request: Request, response: Response, token: str, days: int) -> None:
    """Set the session cookie for `days` days, out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=days * 24 * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
