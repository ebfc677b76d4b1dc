"""Requests over kept connections, and the processor time of the server for each answer.

Answers a second depend on the client and on what else the machine does; the processor time of the
server for an answer does so less.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import psutil

CONNECTIONS = 16


class Cost(NamedTuple):
    """What answers cost a server, and how long the client waited for them."""

    answers: int
    a_second: float
    processor_us: float  # of the server, for one answer
    p50_ms: float
    p99_ms: float

    @property
    def a_core_second(self) -> float:
        """Answers that a core of the server's own would give in a second."""
        return 1e6 / self.processor_us


def cost_of(port: int, pid: int, requests: Iterable[bytes], status: int) -> Cost:
    """Send all requests, each connection one at a time. Raises SystemExit at another status."""
    process = psutil.Process(pid)
    used, began = _busy(process), time.monotonic()
    took = asyncio.run(_send(port, requests, status))
    elapsed, spent = time.monotonic() - began, _busy(process) - used
    p50, p99 = 1e3 * np.percentile(took, [50, 99])
    return Cost(len(took), len(took) / elapsed, 1e6 * spent / len(took), float(p50), float(p99))


async def _send(port: int, requests: Iterable[bytes], status: int) -> list[float]:
    waiting, took = iter(requests), list[float]()

    async def ask() -> None:
        connection = await Connection.open(port)
        try:
            for request in waiting:
                began = time.perf_counter()
                await connection.ask(request, status)
                took.append(time.perf_counter() - began)
        finally:
            connection.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return took


class Connection:
    """A kept connection that sends one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes, status: int) -> tuple[bytes, bytes]:
        """Return head and body of the answer. Raises SystemExit at another status."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await self._reader.readexactly(int(length)) if length else b""
        if not head.startswith(b"http/1.1 %d " % status):
            raise SystemExit(f"A request was answered {head.decode()}{body.decode()}")
        return head, body

    def close(self) -> None:
        self._writer.close()


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def get(port: int, key: str, path: str, *lines: str) -> bytes:
    """Encode a GET with a key."""
    head = [f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {key}", *lines]
    return "\r\n".join([f"GET {path} HTTP/1.1", *head, "", ""]).encode()
