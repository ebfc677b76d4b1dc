"""Processes of the `tandemcal` command, and how a measurement starts them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

from tests.postgres import Server, embedded_server

TIMEOUT = 300.0  # s until a process answers, or a job has ended
Found = TypeVar("Found")


class Started(Protocol):
    """A process that was started; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


# Words of the command, the whole environment, and the file for its output.
Start = Callable[[Sequence[str], Mapping[str, str], IO[bytes]], Started]


class Host(NamedTuple):
    """How a measurement starts processes, and the PostgreSQL server that it uses."""

    start: Start
    server: Callable[[], AbstractContextManager[Server]]


def start_python(
    words: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
) -> Started:
    """Start `tandemcal WORDS` as a new Python."""
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *words],
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


# The server is one of its own, whose commits are durable.
THIS_MACHINE = Host(start_python, partial(embedded_server, durable=True))


class ServiceProcess:
    """A process of the `tandemcal` command, whose output goes to a file of its name."""

    def __init__(
        self, start: Start, folder: Path, name: str, words: Sequence[str], **environment: str
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as output:
            self.process = start(words, os.environ | environment, output)

    def wait_for_output(self, pattern: str) -> str:
        """Wait until the output matches; return its first group, or the whole match."""

        def found() -> str | None:
            match = re.search(pattern, self._log.read_text())
            if match is None and self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended:\n{self._log.read_text()}")
            return match[match.re.groups and 1] if match else None

        return until(found, f"{self.name} writes {pattern!r}")

    def wait_for_address(self) -> str:
        """Wait until the process answers requests; return its URL."""
        return self.wait_for_output(r"answers at (http://\S+)")

    def kill(self) -> None:
        """Kill the process by SIGKILL."""
        self.process.kill()
        self.process.wait(TIMEOUT)

    def stop(self) -> None:
        """End the process by SIGTERM, and wait for it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)


def until(ask: Callable[[], Found | None], what: str, pause: float = 0.05) -> Found:
    """Ask again and again until the answer is true. Raises SystemExit after TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(pause)
    raise SystemExit(f"Waited {TIMEOUT:.0f} s in vain until {what}.")
