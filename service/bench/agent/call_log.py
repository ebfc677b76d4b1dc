"""The call log of an agent: one JSON line for each call that its chip handled.

A line holds the chip, the lease token, the verb, the request id, and when the call began and ended.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class LoggedCall(NamedTuple):
    """One call that reached the chip; calls that were refused or repeated are not logged."""

    chip: str
    token: int
    verb: str
    request_id: str
    began: float  # s, Unix time
    ended: float  # s, Unix time


class CallLog:
    """Appends calls to a file, which several agents may share. Without a path it writes nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @contextmanager
    def record(self, chip: str, token: int, verb: str, request_id: str) -> Iterator[None]:
        """Log the call that is handled in the `with` block, also if it raises.

        Raises OSError if the file cannot be written.
        """
        began = time.time()
        try:
            yield
        finally:
            self._append(LoggedCall(chip, token, verb, request_id, began, time.time()))

    def _append(self, call: LoggedCall) -> None:
        if self._path is None:
            return
        line = json.dumps(call._asdict()) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())  # one write, so that lines of several agents never mix
        finally:
            os.close(file)


def read_calls(path: Path) -> list[LoggedCall]:
    """Return all calls of a log in the order in which they ended; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [LoggedCall(**json.loads(line)) for line in lines]
