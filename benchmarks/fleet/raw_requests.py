"""Send requests to the api over a few kept connections, without a client library."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.job_latency import Service

_GOOD = (" 200 ", " 202 ")


def request(
    service: Service, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> bytes:
    """Encode a POST of this JSON as HTTP/1.1."""
    content = json.dumps(body)
    lines = {
        "Host": _address(service),
        "Authorization": f"Bearer {service.key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n{content}".encode()


async def send(service: Service, requests: Iterable[bytes], connections: int) -> None:
    """Send all requests; a connection sends its next one once the last is answered."""
    waiting = iter(requests)
    await asyncio.gather(*(_sender(service, waiting) for _ in range(connections)))


async def _sender(service: Service, waiting: Iterable[bytes]) -> None:
    host, port = _address(service).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for one in waiting:
        writer.write(one)
        await _accepted(reader)
    writer.close()


async def _accepted(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    status = head.partition("\r\n")[0]
    if not any(good in status for good in _GOOD):
        raise SystemExit(f"A request was refused: {body.decode()}")


def _address(service: Service) -> str:
    return service.url.removeprefix("http://")
