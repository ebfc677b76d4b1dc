"""The gate: what is checked of a request before its body is read.

A request for another host, a change without a key, and a client that sends too many are answered
at once. A change needs a key first because a body takes memory and time to read.
"""

import asyncio
import re
from contextlib import suppress

import structlog
from fastapi import HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.auth import SIGN_IN, address_of, find_principal, needs_key
from service.api.context import Context
from service.api.errors import answer_to, busy
from service.api.hosts import ServedHosts
from service.api.rate_limits import RateLimits
from service.api.threads import CHANGES, run_in
from service.db.outage import AWAY
from service.errors import ServiceError
from service.request_errors import (
    BodyTooLargeError,
    TooManyRequestsError,
    UnauthenticatedError,
)

BODY_BYTES = 2**20  # of a body that is no upload
_UPLOADS = re.compile(r"/v1/(teachers|target-sets/[^/]+/chunks/[^/]+)")
# What stores more than a row; to cancel, to sign in or to delete needs no room.
_ACCEPTING = frozenset({"POST", "PUT"})
_ACCEPTED = re.compile(r"/v1/(jobs|teachers|target-sets(/[^/]+/.+)?|chips|jobs/[^/]+/retry)")
_WRONG_KEY_S = 1.0  # before an address that sent many wrong keys is answered
_log = structlog.get_logger(__name__)


class Gate:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, hosts: ServedHosts, limits: RateLimits) -> None:
        self._app, self._hosts, self._limits = app, hosts, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, guarded = Request(scope), _with_headers(send)
        try:
            await self._check(request)
            bounded = _limited(request, receive)
        except ServiceError as error:
            await answer_to(request, error)(scope, receive, guarded)
            return
        except AWAY as error:  # the key cannot be looked up
            await (await busy(request, error))(scope, receive, guarded)
            return
        await self._app(scope, bounded, self._watching(request, guarded))

    async def _check(self, request: Request) -> None:
        """Raise the error that answers the request, if it does not get any further."""
        self._hosts.check(request.headers.get("host", ""))
        context: Context = request.app.state.context
        try:
            principal = await find_principal(request, context)
        except UnauthenticatedError:
            self._limits.count_address(address_of(request))
            if "authorization" in request.headers:
                await self._slow_down(request)
            if request.method in CHANGES and needs_key(request.scope["path"]):
                raise
        else:
            self._limits.count_key(principal.key_id)
            request.state.principal = principal
        if request.method in _ACCEPTING and _ACCEPTED.fullmatch(request.scope["path"]):
            context.disk.check()

    def _watching(self, request: Request, send: Send) -> Send:
        """Slow down sign-ins that fail: their key stands in the body."""
        if request.method != "POST" or request.scope["path"] not in SIGN_IN:
            return send

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                with suppress(TooManyRequestsError):
                    await self._slow_down(request)
            await send(message)

        return watch

    async def _slow_down(self, request: Request) -> None:
        """Count a wrong key. Waits, and raises TooManyRequestsError, if its address sent many.

        Right keys from the same address, which may be a proxy's, are not affected.
        """
        address = address_of(request)
        if self._limits.count_line(address):
            _log.warning("api: wrong key", by=address, path=request.scope["path"])
            context: Context = request.app.state.context
            record = context.credentials.record_refusal
            await run_in(context.threads.writers, record, address, request.scope["path"])
        try:
            self._limits.count_wrong_key(address)
        except TooManyRequestsError:
            await asyncio.sleep(_WRONG_KEY_S)
            raise


def _with_headers(send: Send) -> Send:
    """Forbid browsers to take an answer for another type than it says, and to keep it.

    An answer that may be kept says so itself.
    """

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return add


def _limited(request: Request, receive: Receive) -> Receive:
    """Bound what is read of a body; uploads are bounded where they are received.

    Raises BodyTooLargeError at once if the body announces too much. FastAPI's own limit would
    answer without saying what is wrong.
    """
    if _UPLOADS.fullmatch(request.scope["path"]):
        return receive
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_BYTES:
        raise BodyTooLargeError(BODY_BYTES)
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES:
            # FastAPI hands on errors of this class alone while it reads a body.
            raise HTTPException(413, str(BodyTooLargeError(BODY_BYTES)))
        return message

    return count
