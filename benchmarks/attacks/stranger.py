"""Attacks on a service: python -m benchmarks.attacks.stranger NAME PORT SECONDS PRIORITY.

A process of its own, from other loopback addresses than the client that is measured. It stops by
itself, and prints what it did as JSON.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle

HERE = "127.0.0.1"
_BODY = 99_000_000  # bytes
_PART = 65_536
_BLOCKS = (20_000_000, 50_000_000, 100_000_000)  # bytes of a header that does not end
_HALF_OPEN, _IDLE = 1_500, 1_200  # connections
_DRIP_S = 2.0  # between two bytes of a header
_LEAST_PRIORITY = 19
_ADDRESSES = 4  # of the stranger; one address may hold 640 connections


class Stranger:
    """Opens connections until the time is over, and counts what becomes of them."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._until = port, time.monotonic() + seconds
        self._addresses = cycle(f"127.0.0.{number}" for number in range(2, 2 + _ADDRESSES))
        self.counted: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._until

    async def keep(self, attack: Callable[[], Awaitable[None]], times: int) -> None:
        """Run an attack on so many connections at once, again whenever one has ended."""
        await asyncio.gather(*(self._again(attack, number / times) for number in range(times)))

    async def _again(self, attack: Callable[[], Awaitable[None]], later: float) -> None:
        await asyncio.sleep(later)
        while self.goes_on:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._left()):
                    await attack()
            except (OSError, asyncio.IncompleteReadError):
                self.counted["cut"] += 1
                await asyncio.sleep(0.02)
            except TimeoutError:
                return

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection from one of the stranger's addresses."""
        self.counted["connections"] += 1
        return await asyncio.open_connection(
            HERE, self._port, local_addr=(next(self._addresses), 0)
        )

    async def send_body(self) -> None:
        """Send 99 MB of `[],[],...` without a key."""
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: {HERE}\r\nContent-Type: application/json\r\n"
        reader, writer = await self.open()
        try:
            writer.write(f"{head}Content-Length: {_BODY}\r\n\r\n[".encode())
            await self._send(writer, _BODY, b"[],")
        finally:
            await self._count_answer(reader)
            writer.close()

    async def send_header(self) -> None:
        """Send a header block of 20 to 100 MB that does not end."""
        reader, writer = await self.open()
        size = _BLOCKS[self.counted["connections"] % len(_BLOCKS)]
        try:
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: {HERE}\r\nX-Long: ".encode())
            await self._send(writer, size, b"a")
        finally:
            await self._count_answer(reader)
            writer.close()

    async def drip_header(self) -> None:
        """Send a header a byte at a time."""
        _, writer = await self.open()
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: {HERE}\r\nX-Slow: ".encode())
        try:
            while self.goes_on:
                await asyncio.sleep(_DRIP_S)
                writer.write(b"a")
                await writer.drain()
        finally:
            writer.close()

    async def stay_idle(self) -> None:
        """Send nothing until the service closes the connection."""
        reader, writer = await self.open()
        await reader.read()
        self.counted["closed"] += 1
        writer.close()

    async def _send(self, writer: asyncio.StreamWriter, size: int, text: bytes) -> None:
        part = text * (_PART // len(text))
        for _ in range(size // len(part)):
            writer.write(part)
            await writer.drain()
            self.counted["bytes"] += len(part)

    async def _count_answer(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), 1.0)
            self.counted[line.decode("latin-1").split(" ")[1] if line else "no answer"] += 1


async def _bodies(stranger: Stranger) -> None:
    await stranger.keep(stranger.send_body, 4)


async def _headers(stranger: Stranger) -> None:
    await asyncio.gather(
        stranger.keep(stranger.send_header, 4), stranger.keep(stranger.drip_header, _HALF_OPEN)
    )


async def _connections(stranger: Stranger) -> None:
    await stranger.keep(stranger.stay_idle, _IDLE)


ATTACKS: Mapping[str, Callable[[Stranger], Awaitable[None]]] = {
    "bodies": _bodies,
    "headers": _headers,
    "connections": _connections,
}


def _arguments() -> Iterator[str]:
    yield from sys.argv[1:]


def main() -> None:
    """Attack, and print what was done.

    With the priority `least` it takes only the time that the service leaves, with `equal` it shares
    the cores with the service.
    """
    name, port, seconds, priority = _arguments()
    if priority == "least":
        os.nice(_LEAST_PRIORITY)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stranger = Stranger(int(port), float(seconds))

    async def attack() -> None:
        await ATTACKS[name](stranger)

    asyncio.run(attack())
    print(json.dumps(stranger.counted))


if __name__ == "__main__":
    main()
