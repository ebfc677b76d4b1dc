"""The HTTP server of a chip agent: checks who calls, and passes each call to the chip server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.bench.agent.chip_server import OK, Call, ChipServer, Emit, ignore
from service.bench.agent.journal import CallAnswer
from service.bench.protocol.frames import MEDIA_TYPE as FRAMES
from service.bench.protocol.frames import encode_frame
from service.bench.protocol.proof import ANSWER_PROOF, CallHead, may_call, prove_answer
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import LEASE_TOKEN, MEDIA_TYPE, REQUEST_ID, Body, Message
from service.digests import CONTENT_DIGEST, content_digest

_CALL_MAX = 1 << 30  # bytes of a call's content
_ONE_PIECE_MAX = 1 << 20  # bytes up to which an answer is sent in one piece
_CALLS = "/v1/chip/"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_agent(
    chip_server: ChipServer, secret: str, threads: int = 1, beside: Lifespan | None = None
) -> ASGIApp:
    """Return the app that serves the chip's verbs under /v1/chip to callers with the secret.

    `threads` are those of torch. `beside` runs as long as the app does.
    """
    handler = CallHandler(chip_server, secret, threads)
    app = FastAPI(
        title="Tandemcal chip agent",
        lifespan=_lifespan(handler, beside),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_api_route("/healthz", _healthy)
    return _CallRouter(handler, app)


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


class _CallRouter:
    """Routes calls of the chip past FastAPI to the handler: a step of learning is ten of them."""

    def __init__(self, handler: "CallHandler", app: FastAPI) -> None:
        self._handler, self._app = handler, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_CALLS):
            response = await self._handler.handle(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class CallHandler:
    """Turns HTTP requests into calls of the chip server, which runs in a thread of its own."""

    def __init__(self, chip_server: ChipServer, secret: str, threads: int) -> None:
        self._chip_server = chip_server
        self._secret = secret
        # One thread: a call repeated while it is being handled waits for its answer.
        self._chip_thread = ThreadPoolExecutor(1, "chip", torch.set_num_threads, (threads,))

    async def handle(self, request: Request) -> Response:
        """Answer one request: an error of the caller, or what the chip server returns.

        Whoever does not know the secret gets no proof, which could be used for another answer.
        """
        if (refusal := self._refusal(request)) is not None:
            return _response(refusal)
        response = await self._handle_authorized(request)
        request_id = request.headers[REQUEST_ID]
        response.headers[ANSWER_PROOF] = prove_answer(self._secret, request_id)
        return response

    def close(self) -> None:
        """Close the chip server, after the call that is being handled."""
        self._chip_thread.shutdown()
        self._chip_server.close()

    async def _handle_authorized(self, request: Request) -> Response:
        content = await _content(request)
        if content is None:
            return _response(_refused(413, f"a call has at most {_CALL_MAX} bytes"))
        headers, verb = request.headers, request.scope["path"].removeprefix(_CALLS)
        digest = headers.get(CONTENT_DIGEST, "")
        call = Call(verb, int(headers[LEASE_TOKEN]), headers[REQUEST_ID], content, digest)
        handle = partial(self._handle_checked, call)
        if verb in VERBS and VERBS[verb].streamed:
            return await _streamed_response(self._chip_thread, handle)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._chip_thread, lambda: _response(handle()))

    def _handle_checked(self, call: Call, emit: Emit = ignore) -> CallAnswer:
        """Check the digest, in the chip's thread too: other callers would wait for it otherwise."""
        if content_digest(call.content) != call.digest:
            reason = "the bytes do not have their checksum; send them again"
            return _refused(400, reason, CONTENT_DIGEST)
        return self._chip_server.handle(call, emit)

    def _refusal(self, request: Request) -> CallAnswer | None:
        """Return what is wrong with the head of a request, or None; its content is not read."""
        if request.method != "POST":
            return _refused(405, "a call is a POST")
        if not self._knows_secret(request):
            return _refused(401, "it is not signed with the agent's secret")
        token = request.headers.get(LEASE_TOKEN, "")
        request_id = request.headers.get(REQUEST_ID, "")
        if not (token.isdecimal() and len(token) < 19 and 0 < len(request_id) <= 100):
            return _refused(400, f"a call needs the headers {LEASE_TOKEN} and {REQUEST_ID}")
        return None

    def _knows_secret(self, request: Request) -> bool:
        headers, verb = request.headers, request.scope["path"].removeprefix(_CALLS)
        head = CallHead(
            verb,
            headers.get(LEASE_TOKEN, ""),
            headers.get(REQUEST_ID, ""),
            headers.get(CONTENT_DIGEST, ""),
        )
        return may_call(self._secret, head, headers.get("authorization", ""))


async def _content(request: Request) -> bytes | None:
    """Read the whole body; return None if it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _CALL_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


async def _streamed_response(
    chip_thread: ThreadPoolExecutor, handle: Callable[[Emit], CallAnswer]
) -> Response:
    """Start the answer with its first frame; an error before that is a plain response."""
    loop, frames = asyncio.get_running_loop(), asyncio.Queue[Body | None]()

    def emit(frame: Body | None) -> None:
        with suppress(
            RuntimeError
        ):  # the loop is closed; the call is handled and kept all the same
            loop.call_soon_threadsafe(frames.put_nowait, frame)

    answer = chip_thread.submit(handle, emit)
    answer.add_done_callback(lambda _: emit(None))
    first = await frames.get()
    if first is None and answer.result().status != OK:
        return _response(answer.result())
    return StreamingResponse(_frame_parts(first, frames, answer), OK, media_type=FRAMES)


async def _frame_parts(
    frame: Body | None, frames: asyncio.Queue[Body | None], answer: Future[CallAnswer]
) -> AsyncIterator[bytes | memoryview]:
    """Yield frames as they come; the stream ends when the call is handled and kept."""
    begun = frame is not None
    while frame is not None:
        for part in _parts(frame):
            yield part
        frame = await frames.get()
    status, body = answer.result()
    if not begun:  # an earlier answer: its frames were not emitted again
        for part in _parts(body):
            yield part
    elif status != OK:
        payload = {"status": status, "refused": body.whole().decode()}
        yield encode_frame(Message(payload)).whole()


def _response(answer: CallAnswer) -> Response:
    """Return the answer as one HTTP response, with its digest."""
    body = answer.body
    headers = {CONTENT_DIGEST: body.digest, "Content-Length": str(body.size)}
    kind = MEDIA_TYPE if answer.status == OK else "application/json"
    if body.size <= _ONE_PIECE_MAX:
        return Response(body.whole(), answer.status, headers, kind)
    return StreamingResponse(_slices(body), answer.status, headers, kind)


async def _slices(body: Body) -> AsyncIterator[memoryview]:
    """Yield slices in the event loop: starlette would read a plain iterator in a thread."""
    for part in body.slices():
        yield part


def _parts(body: Body) -> Iterator[bytes | memoryview]:
    """Return a small body in one piece, and a large one in slices without a copy."""
    return iter((body.whole(),)) if body.size <= _ONE_PIECE_MAX else body.slices()


def _refused(status: int, detail: str, error: str | None = None) -> CallAnswer:
    content = json.dumps({"error": error, "detail": f"This call was refused: {detail}."}).encode()
    return CallAnswer(status, Body((memoryview(content),)))
