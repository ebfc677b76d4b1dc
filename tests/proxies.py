"""A proxy between driver and agent that changes, damages or delays answers."""

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
from service.bench.protocol.proof import ANSWER_PROOF
from service.bench.protocol.wire import Message, decode, encode
from service.digests import CONTENT_DIGEST, content_digest
from tests.agents import ServedAgent, serving

Tamper = Callable[[Response], Any]


class Proxy:
    """Passes calls on to an agent, and answers back, changed as `tamper` said."""

    def __init__(self, agent: ServedAgent) -> None:
        self.calls = 0
        self._callers: set[object] = set()
        self.agent = agent
        self._tamper: dict[str, tuple[int, Tamper]] = {}
        self.app = FastAPI()
        self.app.add_api_route("/v1/chip/{verb}", self._pass_on, methods=["POST"])

    def tamper(self, verb: str, how: Tamper, times: int = 10**9) -> None:
        """Change the next `times` answers to this verb."""
        self._tamper[verb] = (times, how)

    @property
    def connections(self) -> int:
        """Number of connections so far."""
        return len(self._callers)

    def pass_all_on(self) -> None:
        """Change no more answers."""
        self._tamper.clear()

    async def _pass_on(self, verb: str, request: Request) -> Response:
        self.calls += 1
        self._callers.add(request.client)
        # The agent speaks plain HTTP: to load the certificates of all authorities takes 20 ms.
        async with httpx.AsyncClient(base_url=self.agent.address.url, verify=False) as client:
            content = await request.body()
            answer = await client.post(request.url.path, content=content, headers=request.headers)
        passed = (CONTENT_DIGEST, ANSWER_PROOF)
        headers = {name: answer.headers[name] for name in passed if name in answer.headers}
        response = Response(answer.content, answer.status_code, headers)
        left, how = self._tamper.get(verb, (0, None))
        if how is None or left == 0:
            return response
        self._tamper[verb] = (left - 1, how)
        changed: Response | Awaitable[Response] = how(response)
        return changed if isinstance(changed, Response) else await changed


@contextmanager
def drive_through(proxy: Proxy, **limits: float) -> Iterator[HttpChip]:
    """Drive the chip of the proxy's agent through the proxy."""
    with serving(proxy.app) as url:
        address = proxy.agent.address.model_copy(update={"url": url, **limits})
        chip = open_http_chip("bench-1", address, 1)
        yield chip
        chip.close()


def with_changes(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Tamper:
    """Change fields and tensors of the answer; its checksum is right."""

    def changed(response: Response) -> Response:
        message = decode(bytes(response.body))
        fields, tensors = dict(message.fields), dict(message.tensors)
        change(fields, tensors)
        content = encode(Message(fields, tensors)).whole()
        return Response(content, 200, {CONTENT_DIGEST: content_digest(content)})

    return changed


def with_tensor(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Tamper:
    """Replace a tensor."""

    def change(_fields: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors[name] = make(tensors[name])

    return with_changes(change)


def with_field(name: str, value: Any) -> Tamper:
    """Replace a field."""
    return with_changes(lambda fields, _tensors: fields.update({name: value}))


def without_tensor(name: str) -> Tamper:
    return with_changes(lambda _fields, tensors: tensors.pop(name))


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    holed = tensor.clone()
    holed.view(-1)[3] = torch.nan
    return holed


def in_frame(number: int, change: Tamper) -> Tamper:
    """Apply the change to one frame of a streamed answer."""

    def changed(response: Response) -> Response:
        messages = [decode(content) for content in contents(response)]
        one = change(Response(encode(messages[number]).whole()))
        messages[number] = decode(bytes(one.body))
        return Response(b"".join(encode_frame(message).whole() for message in messages))

    return changed


def contents(response: Response) -> Iterator[bytes]:
    read = io.BytesIO(bytes(response.body)).read
    while frame := read_frame(read):
        yield frame.content


def without_frame(number: int) -> Tamper:
    """Leave out one frame."""

    def changed(response: Response) -> Response:
        frames = [encode_frame(decode(content)).whole() for content in contents(response)]
        del frames[number]
        return Response(b"".join(frames))

    return changed


def without_frames(_response: Response) -> Response:
    return Response(b"", 200)


def with_flipped_bit(response: Response) -> Response:
    content = bytearray(response.body)
    content[-1] ^= 1
    return Response(bytes(content), 200, dict(response.headers))


def without_checksum(response: Response) -> Response:
    return Response(response.body, 200)


def from_another_server(_response: Response) -> Response:
    return Response("<h1>Bad gateway</h1>", 502)


def cut_off(response: Response) -> Response:
    content = bytes(response.body)

    async def half() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]

    return StreamingResponse(half(), 200, dict(response.headers))


def ended_early(response: Response) -> Response:
    """End the answer properly after half of its bytes; no length was announced."""
    half = bytes(response.body)[: len(response.body) // 2]

    async def chunks() -> AsyncIterator[bytes]:
        yield half

    return StreamingResponse(chunks(), 200)


def refusing(error: str | None) -> Tamper:
    """Replace the answer by a refusal with this error."""

    def refusal(_response: Response) -> Response:
        content = json.dumps({"error": error, "detail": "This call was refused."}).encode()
        return Response(content, 400, {CONTENT_DIGEST: content_digest(content)})

    return refusal


def without_reason(_response: Response) -> Response:
    content = b"<h1>Internal server error</h1>"
    return Response(content, 500, {CONTENT_DIGEST: content_digest(content)})


DAMAGES = (with_flipped_bit, without_checksum, from_another_server, cut_off)


def in_chunks(response: Response) -> Response:
    """Send the frames in chunks, as an agent does that does not know the length yet."""

    async def frames() -> AsyncIterator[bytes]:
        for content in contents(response):
            yield encode_frame(decode(content)).whole()

    return StreamingResponse(frames(), 200)


async def late(response: Response) -> Response:
    await asyncio.sleep(60.0)
    return response


async def byte_by_byte(response: Response) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        for start in range(len(response.body)):
            yield bytes(response.body[start : start + 1])
            await asyncio.sleep(0.05)

    return StreamingResponse(drops(), 200, dict(response.headers))
