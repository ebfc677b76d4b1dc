"""A proxy between driver and agent, and what it may make of an answer: lies, damages, delays."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from service.bench.driver.http_chip import HttpChip, open_http_chip
from service.bench.protocol.frames import encode_frame, read_frame
from service.bench.protocol.wire import Message, decode, encode
from service.digests import CONTENT_DIGEST, content_digest
from tests.agents import ServedAgent, serving

Tamper = Callable[[Response], Any]


class Proxy:
    """Stands between driver and agent, and hands on what it is told to make of an answer."""

    def __init__(self, agent: ServedAgent) -> None:
        self.asked = 0
        self._callers: set[object] = set()
        self.agent = agent
        self._tamper: dict[str, tuple[int, Tamper]] = {}
        self.app = FastAPI()
        self.app.add_api_route("/v1/chip/{verb}", self._pass_on, methods=["POST"])

    def tamper(self, verb: str, how: Tamper, times: int = 10**9) -> None:
        self._tamper[verb] = (times, how)

    @property
    def lines(self) -> int:
        """How many connections there have been."""
        return len(self._callers)

    def be_honest(self) -> None:
        self._tamper.clear()

    async def _pass_on(self, verb: str, request: Request) -> Response:
        self.asked += 1
        self._callers.add(request.client)
        async with httpx.AsyncClient(base_url=self.agent.address.url) as client:
            content = await request.body()
            answer = await client.post(request.url.path, content=content, headers=request.headers)
        told = {name: answer.headers[name] for name in (CONTENT_DIGEST,) if name in answer.headers}
        response = Response(answer.content, answer.status_code, told)
        left, how = self._tamper.get(verb, (0, None))
        if how is None or left == 0:
            return response
        self._tamper[verb] = (left - 1, how)
        changed: Response | Awaitable[Response] = how(response)
        return changed if isinstance(changed, Response) else await changed


@contextmanager
def driven(proxy: Proxy, **limits: float) -> Iterator[HttpChip]:
    """The chip behind the agent behind the proxy."""
    with serving(proxy.app) as url:
        address = proxy.agent.address.model_copy(update={"url": url, **limits})
        chip = open_http_chip("bench-1", address, 1)
        yield chip
        chip.close()


def lie(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Tamper:
    """Another answer, under a checksum that is right."""

    def told(response: Response) -> Response:
        message = decode(bytes(response.body))
        fields, tensors = dict(message.fields), dict(message.tensors)
        change(fields, tensors)
        content = encode(Message(fields, tensors)).whole()
        return Response(content, 200, {CONTENT_DIGEST: content_digest(content)})

    return told


def put(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Tamper:
    """Another tensor in the place of this one."""

    def change(_fields: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors[name] = make(tensors[name])

    return lie(change)


def say(name: str, value: Any) -> Tamper:
    """Another field."""
    return lie(lambda fields, _tensors: fields.update({name: value}))


def drop(name: str) -> Tamper:
    return lie(lambda _fields, tensors: tensors.pop(name))


def with_hole(tensor: torch.Tensor) -> torch.Tensor:
    holed = tensor.clone()
    holed.view(-1)[3] = torch.nan
    return holed


def in_piece(number: int, change: Tamper) -> Tamper:
    """This lie in one piece of many."""

    def told(response: Response) -> Response:
        pieces = [decode(content) for content in contents(response)]
        changed = change(Response(encode(pieces[number]).whole()))
        pieces[number] = decode(bytes(changed.body))
        return Response(b"".join(encode_frame(piece).whole() for piece in pieces))

    return told


def contents(response: Response) -> Iterator[bytes]:
    read = io.BytesIO(bytes(response.body)).read
    while frame := read_frame(read):
        yield frame.content


def without(number: int) -> Tamper:
    """One piece fewer."""

    def told(response: Response) -> Response:
        pieces = [encode_frame(decode(content)).whole() for content in contents(response)]
        del pieces[number]
        return Response(b"".join(pieces))

    return told


def garbled(response: Response) -> Response:
    content = bytearray(response.body)
    content[-1] ^= 1
    return Response(bytes(content), 200, dict(response.headers))


def without_checksum(response: Response) -> Response:
    return Response(response.body, 200)


def of_a_stranger(_response: Response) -> Response:
    return Response("<h1>Bad gateway</h1>", 502)


def cut(response: Response) -> Response:
    content = bytes(response.body)

    async def half() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]

    return StreamingResponse(half(), 200, dict(response.headers))


def ended_early(response: Response) -> Response:
    """Half of an answer whose end looks like an end: it announced no length."""
    half = bytes(response.body)[: len(response.body) // 2]

    async def chunks() -> AsyncIterator[bytes]:
        yield half

    return StreamingResponse(chunks(), 200)


def refusing(error: str | None) -> Tamper:
    """A refusal of this kind in the place of the answer."""

    def refusal(_response: Response) -> Response:
        content = json.dumps({"error": error, "detail": "This call was refused."}).encode()
        return Response(content, 400, {CONTENT_DIGEST: content_digest(content)})

    return refusal


def without_reason(_response: Response) -> Response:
    content = b"<h1>Internal server error</h1>"
    return Response(content, 500, {CONTENT_DIGEST: content_digest(content)})


DAMAGES = (garbled, without_checksum, of_a_stranger, cut)


def in_chunks(response: Response) -> Response:
    """As an agent sends what it does not know the length of yet."""

    async def pieces() -> AsyncIterator[bytes]:
        for content in contents(response):
            yield encode_frame(decode(content)).whole()

    return StreamingResponse(pieces(), 200)


async def late(response: Response) -> Response:
    await asyncio.sleep(60.0)
    return response


async def trickling(response: Response) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        for start in range(len(response.body)):
            yield bytes(response.body[start : start + 1])
            await asyncio.sleep(0.05)

    return StreamingResponse(drops(), 200, dict(response.headers))
