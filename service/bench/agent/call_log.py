"""A line for every call that an agent did: whose token, which verb, from when to when."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class LoggedCall(NamedTuple):
    """One call that was done, not one that was refused or answered from memory."""

    chip: str
    token: int
    verb: str
    request_id: str
    began: float  # s, Unix time
    ended: float


class CallLog:
    """Appends to a file, which several agents may share. Without a path it writes nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @contextmanager
    def noting(self, chip: str, token: int, verb: str, request_id: str) -> Iterator[None]:
        """Also where the call fails."""
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
            os.write(file, line.encode())  # in one piece: lines of others are not torn
        finally:
            os.close(file)


def read_calls(path: Path) -> list[LoggedCall]:
    """All calls so far, as they ended."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [LoggedCall(**json.loads(line)) for line in lines]
