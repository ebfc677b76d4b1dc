"""Routes to sign in and out: a key opens a session of the browser."""

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from service.api.auth import COOKIE, address_of, refuse_foreign_pages, set_session_cookie
from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.request_errors import ForbiddenError, UnauthenticatedError
from service.web.access import Form
from service.web.rendering import show

_WRONG = "This is not a valid key. Check that you copied all of it."
_NO_READER = (
    "This key has no scope 'read', so it cannot sign in. A key of an agent serves its chip alone; "
    "sign in with a key that may read."
)
_ENDED = "Your session has ended. Sign in again to go on."

router = ServiceRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request, context: ContextDep, next: str = "/", ended: int = 0) -> Response:
    """Show the form to sign in; it says so where a session has ended."""
    return _login(request, context, next, 200, note=_ENDED if ended else None)


@router.post("/login")
def login(request: Request, context: ContextDep, form: Form) -> Response:
    """Sign in with a key: the answer sets the session cookie."""
    refuse_foreign_pages(request)
    target = form.get("next", "/")
    try:
        token = context.credentials.log_in(
            form.get("key", "").strip(), utc_now(), address_of(request)
        )
    except UnauthenticatedError:
        return _login(request, context, target, 401, warning=_WRONG)
    except ForbiddenError:
        return _login(request, context, target, 403, warning=_NO_READER)
    answer = RedirectResponse(_own(target), status_code=303)
    set_session_cookie(request, answer, token, context.settings.session_days)
    return answer


@router.post("/logout")
def logout(request: Request, context: ContextDep) -> Response:
    """Sign out: end the browser session."""
    refuse_foreign_pages(request)
    if token := request.cookies.get(COOKIE):
        context.credentials.log_out(token, utc_now(), address_of(request))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def _login(
    request: Request,
    context: Context,
    target: str,
    status: int,
    *,
    note: str | None = None,
    warning: str | None = None,
) -> Response:
    path = context.settings.key_file
    shown = {"note": note, "warning": warning, "next": target}
    shown["key_file"] = str(path) if path.exists() else None
    return show(request, "login.html", status=status, **shown)


def _own(target: str) -> str:
    """Return the target if it is a path of this service, else the start page."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside else "/"
