"""Asks the warm server for processes, which are used as those of `subprocess` are."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
_LONGEST = 32  # bytes of a number
_LOADED_WITHIN = 120.0  # s; other work may share the machine
_TURN = 0.05  # s that one of several waiting threads has the socket


class WarmProcess:
    """One `tandemcal` process. Its methods do what those of `subprocess.Popen` do."""

    def __init__(self, words: Sequence[str], status: socket.socket) -> None:
        self._words, self._status = words, status
        self._telling = threading.Lock()
        self.returncode: int | None = None
        if not self._has_words(_LOADED_WITHIN):
            raise subprocess.TimeoutExpired(list(words), _LOADED_WITHIN)
        self.pid = self._told()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float) -> int:
        """The exit code. Several threads may wait. Raises subprocess.TimeoutExpired."""
        ends = time.monotonic() + timeout
        while self.returncode is None:
            with self._telling:
                left = max(0.0, min(_TURN, ends - time.monotonic()))
                if self.returncode is None and self._has_words(left):
                    self.returncode = self._told()
                    self._status.close()
            if self.returncode is None and time.monotonic() >= ends:
                raise subprocess.TimeoutExpired(list(self._words), timeout)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _has_words(self, within: float) -> bool:
        """Whether the server says something, or has said its last, within so many seconds."""
        return bool(select.select([self._status], [], [], within)[0])

    def _told(self) -> int:
        told = self._status.recv(_LONGEST)
        assert told, "the warm server has ended"
        return int(told)


class WarmServer:
    """Starts processes of the `tandemcal` command."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm.server", str(theirs.fileno())],
                # One thread: those of OpenMP would be missing in a fork, which waits for them.
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
    ) -> WarmProcess:
        """`tandemcal WORDS`, with this environment alone; what it prints goes to the file."""
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([list(words), dict(environment), str(ROOT)]).encode()
            descriptors = [output.fileno(), theirs.fileno()]
            socket.send_fds(self._requests, [request], descriptors)
        return WarmProcess(words, status)

    def close(self) -> None:
        """Processes that still run go on."""
        self._requests.close()
        self._process.wait(_LOADED_WITHIN)
