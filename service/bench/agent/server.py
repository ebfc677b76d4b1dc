"""The chip agent: an HTTP server in front of one chip, for whoever knows its secret."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.bench.agent.chip_server import Call, ChipServer
from service.bench.agent.performing import OK, CallAnswer, Emit, ignore
from service.bench.protocol.frames import MEDIA_TYPE as IN_PIECES
from service.bench.protocol.frames import encode_frame
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import LEASE_TOKEN, MEDIA_TYPE, REQUEST_ID, Body, Message
from service.digests import CONTENT_DIGEST, content_digest

_CALL_MAX = 1 << 30  # bytes
_WHOLE = 1 << 20  # bytes up to which an answer is sent in one piece
_CALLS = "/v1/chip/"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_agent(
    chip_server: ChipServer, secret: str, threads: int = 1, beside: Lifespan | None = None
) -> ASGIApp:
    """The chip's verbs under /v1/chip. `beside` runs as long as the agent does."""
    handler = CallHandler(chip_server, secret, threads)
    app = FastAPI(
        title="Tandemcal chip agent",
        lifespan=_lifespan(handler, beside),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_api_route("/healthz", _healthy)
    return _Front(handler, app)


async def _healthy() -> dict[str, str]:
    return {"status": "ok"}


def _lifespan(handler: "CallHandler", beside: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            if beside is None:
                yield
            else:
                async with beside(app):
                    yield
        finally:
            await asyncio.to_thread(handler.close)

    return lifespan


class _Front:
    """Calls of the chip go straight to the handler: ten of them are one step of learning."""

    def __init__(self, handler: "CallHandler", app: FastAPI) -> None:
        self._handler, self._app = handler, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_CALLS):
            response = await self._handler.take(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class CallHandler:
    """Where calls arrive."""

    def __init__(self, chip_server: ChipServer, secret: str, threads: int) -> None:
        self._chip_server = chip_server
        self._secret = secret.encode()
        # One thread drives the chip: a call repeated while it is being done waits for its answer.
        self._driver = ThreadPoolExecutor(1, "chip", torch.set_num_threads, (threads,))

    async def take(self, request: Request) -> Response:
        """One verb of the port, done once."""
        objection = self._objection(request)
        if objection is not None:
            return _response(objection)
        content = await _content(request)
        if content is None:
            return _response(_refused(413, f"a call has at most {_CALL_MAX} bytes"))
        headers, verb = request.headers, request.scope["path"].removeprefix(_CALLS)
        call = Call(verb, int(headers[LEASE_TOKEN]), headers[REQUEST_ID], content)
        do = partial(self._do, call, headers.get(CONTENT_DIGEST))
        if verb in VERBS and VERBS[verb].in_pieces:
            return await _streamed(self._driver, do)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._driver, lambda: _response(do()))

    def close(self) -> None:
        """After the call that is being done."""
        self._driver.shutdown()
        self._chip_server.close()

    def _do(self, call: Call, announced: str | None, emit: Emit = ignore) -> CallAnswer:
        """In the driver's thread, checksums too: they would keep other callers waiting."""
        if content_digest(call.content) != announced:
            return _refused(
                400, "the bytes do not have their checksum; send them again", CONTENT_DIGEST
            )
        return self._chip_server.call(call, emit)

    def _objection(self, request: Request) -> CallAnswer | None:
        """What is wrong with a call whose content has not been read."""
        if request.method != "POST":
            return _refused(405, "a call is a POST")
        if not self._knows(request):
            return _refused(401, "send the agent's secret: 'Authorization: Bearer SECRET'")
        token, request_id = (
            request.headers.get(LEASE_TOKEN, ""),
            request.headers.get(REQUEST_ID, ""),
        )
        if not (token.isdecimal() and len(token) < 19 and 0 < len(request_id) <= 100):
            return _refused(400, f"a call needs the headers {LEASE_TOKEN} and {REQUEST_ID}")
        return None

    def _knows(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode(), self._secret)
        return scheme.lower() == "bearer" and known


async def _content(request: Request) -> bytes | None:
    """The whole body, unless it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _CALL_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


async def _streamed(driver: ThreadPoolExecutor, do: Callable[[Emit], CallAnswer]) -> Response:
    """The answer in pieces, begun with the first of them."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Body | None]()

    def pass_on(piece: Body | None) -> None:
        with suppress(RuntimeError):  # the server is gone: the call is done and kept all the same
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    answer = driver.submit(do, pass_on)
    answer.add_done_callback(lambda _: pass_on(None))
    first = await pieces.get()
    if first is None and answer.result().status != OK:
        return _response(answer.result())
    return StreamingResponse(_pieces(first, pieces, answer), OK, media_type=IN_PIECES)


async def _pieces(
    piece: Body | None, pieces: asyncio.Queue[Body | None], answer: Future[CallAnswer]
) -> AsyncIterator[bytes | memoryview]:
    """As they come. The stream ends when the call is done, and kept."""
    begun = piece is not None
    while piece is not None:
        for part in _parts(piece):
            yield part
        piece = await pieces.get()
    status, whole = answer.result()
    if not begun:  # it was given before
        for part in _parts(whole):
            yield part
    elif status != OK:
        payload = {"status": status, "refused": whole.whole().decode()}
        yield encode_frame(Message(payload)).whole()


def _response(answer: CallAnswer) -> Response:
    """The answer as a whole."""
    body = answer.body
    headers = {CONTENT_DIGEST: body.digest, "Content-Length": str(body.size)}
    kind = MEDIA_TYPE if answer.status == 200 else "application/json"
    if body.size <= _WHOLE:
        return Response(body.whole(), answer.status, headers, kind)
    return StreamingResponse(_slices(body), answer.status, headers, kind)


async def _slices(body: Body) -> AsyncIterator[memoryview]:
    """For the loop: of a plain iterator it would hear each slice in a thread."""
    for part in body.slices():
        yield part


def _parts(body: Body) -> Iterator[bytes | memoryview]:
    """A small body in one, a large one without a copy."""
    return iter((body.whole(),)) if body.size <= _WHOLE else body.slices()


def _refused(status: int, detail: str, error: str | None = None) -> CallAnswer:
    content = json.dumps({"error": error, "detail": f"This call was refused: {detail}."}).encode()
    return CallAnswer(status, Body((memoryview(content),)))
