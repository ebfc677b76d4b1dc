"""What the connection guard costs: a trivial route behind uvicorn's protocol, and behind ours.

The server is a process of its own. Requests a second depend on the client and on what else the
machine does; the server's processor time for a request does so less. Both servers take turns.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import uvicorn
from rich.console import Console
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.connection_guard import guarded
from service.listening import listen
from service.open_connections import ConnectionLimits

_CONNECTIONS = 16
_QUESTION = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer nothing\r\n\r\n"


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float  # of each server in each round


class Rate(NamedTuple):
    """Answers of one server."""

    a_second: float
    processor_us: float  # of the server, for one answer


def measure(console: Console, extent: Extent) -> dict[str, Any]:
    """Measure both servers in turn; return the medians and what the guard adds."""
    with _server("plain") as plain, _server("guarded") as guard:
        rates: dict[str, list[Rate]] = {"plain": [], "guarded": []}
        for _ in range(extent.rounds):
            rates["plain"].append(_rate(*plain, extent.seconds))
            rates["guarded"].append(_rate(*guard, extent.seconds))
    found = {name: _median(several) for name, several in rates.items()}
    added = found["guarded"].processor_us / found["plain"].processor_us - 1
    console.print("A trivial route, the median of the rounds")
    for name, rate in found.items():
        console.print(f"  {name:8} {rate.a_second:7.0f} a second  {rate.processor_us:6.1f} us each")
    console.print(f"  the guard adds {100 * added:.1f} % of processor time")
    return {
        "rounds": {name: [one._asdict() for one in several] for name, several in rates.items()},
        **{name: rate._asdict() for name, rate in found.items()},
        "added": added,
    }


def _median(rates: list[Rate]) -> Rate:
    return Rate(*(statistics.median(values) for values in zip(*rates, strict=True)))


def _rate(port: int, pid: int, seconds: float) -> Rate:
    process = psutil.Process(pid)
    used, began = sum(process.cpu_times()[:2]), time.monotonic()
    answers = asyncio.run(_load(port, seconds))
    spent = sum(process.cpu_times()[:2]) - used
    return Rate(answers / (time.monotonic() - began), 1e6 * spent / answers)


async def _load(port: int, seconds: float) -> int:
    until = time.monotonic() + seconds

    async def ask() -> int:
        answers = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            writer.write(_QUESTION)
            await reader.readuntil(b"\r\n\r\nok")
            answers += 1
        writer.close()
        return answers

    return sum(await asyncio.gather(*(ask() for _ in range(_CONNECTIONS))))


@contextmanager
def _server(kind: str) -> Iterator[tuple[int, int]]:
    """Start a server; yield its port and its process id."""
    command = [sys.executable, "-m", "benchmarks.attacks.guard_cost", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait(30)


async def _trivial(_: Scope, __: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def _serve(kind: str) -> None:
    http = guarded(ConnectionLimits()) if kind == "guarded" else HttpToolsProtocol
    listener = listen("127.0.0.1", 0)
    listener.listen()  # a client that comes before the server waits
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(_trivial, http=http, lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve(sys.argv[1])
