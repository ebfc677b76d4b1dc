"""The journal of an agent: what must outlive a killed process, in one SQLite file.

It holds the agent's id and secret, the highest lease token, a snapshot of the chip, the calls that
changed the chip since that snapshot, and the last answers. Each call is one transaction. A power
cut may lose the last calls, but never half of one.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from torch import Tensor

from ltl_core.packing import pack, unpack
from service.bench.protocol.wire import Body

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (
    one INTEGER PRIMARY KEY CHECK (one = 1), agent_id TEXT NOT NULL, secret TEXT NOT NULL,
    token INTEGER NOT NULL, driven_at REAL);
CREATE TABLE IF NOT EXISTS tensors (name TEXT PRIMARY KEY, block BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY, request_id TEXT NOT NULL, verb TEXT NOT NULL,
    content BLOB NOT NULL, chip_time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS replies (
    number INTEGER PRIMARY KEY, request_id TEXT NOT NULL, asked TEXT NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL);
"""
_CHECKPOINT_PAGES = 16_384  # pages of 4 KiB in the write-ahead log before a checkpoint: 64 MiB


class About(NamedTuple):
    """Identity of an agent, and how far it has come."""

    agent_id: str
    secret: str  # the service proves with every call that it knows it
    token: int  # the highest lease token that was seen
    driven_at: float | None  # Unix time of the last call, s


class KeptCall(NamedTuple):
    """A call that changed the chip since its last snapshot."""

    request_id: str
    verb: str
    content: bytes
    chip_time: float  # on the chip's clock when the call began, s


class CallAnswer(NamedTuple):
    """The answer to a call: HTTP status 200 with a message, or another with an error in JSON."""

    status: int
    body: Body


class AnsweredCall(NamedTuple):
    """A call that was handled, and its answer, which a repeated request gets again."""

    request_id: str
    request_digest: str  # verb and digest of the content
    answer: CallAnswer


class Journal:
    """The memory of one agent. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the secret
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._connection.executescript(_SCHEMA)
        self._connection.execute(
            "INSERT OR IGNORE INTO about VALUES (1, ?, ?, 0, NULL)",
            (str(uuid4()), secrets.token_urlsafe(32)),
        )

    def about(self) -> About:
        """Return the agent's identity, its highest token and the time of its last call."""
        row = self._connection.execute("SELECT agent_id, secret, token, driven_at FROM about")
        return About(*row.fetchone())

    def snapshot(self) -> dict[str, Tensor]:
        """Return the last snapshot of the chip; it is empty for a new chip."""
        rows = self._connection.execute("SELECT name, block FROM tensors")
        return {name: unpack(block)[0][name] for name, block in rows}

    def calls(self) -> list[KeptCall]:
        """Return the calls that changed the chip since the snapshot, oldest first."""
        rows = self._connection.execute(
            "SELECT request_id, verb, content, chip_time FROM calls ORDER BY number"
        )
        return [KeptCall(*row) for row in rows]

    def answers(self) -> list[AnsweredCall]:
        """Return the last answers that were kept, oldest first."""
        rows = self._connection.execute(
            "SELECT request_id, asked, status, body FROM replies ORDER BY number"
        )
        return [
            AnsweredCall(request_id, asked, CallAnswer(status, Body((memoryview(body),))))
            for request_id, asked, status, body in rows
        ]

    def raise_token(self, token: int) -> None:
        """Keep a new highest lease token."""
        self._connection.execute("UPDATE about SET token = ?", (token,))

    def append_call(self, call: KeptCall, now: float) -> None:
        """Keep a call that was handled at `now` (Unix time, s), after all others."""
        with self._transaction(now) as transaction:
            transaction.execute(
                "INSERT INTO calls (request_id, verb, content, chip_time) VALUES (?, ?, ?, ?)", call
            )

    def append_answer(self, answered: AnsweredCall, limit: int, now: float) -> None:
        """Keep an answer that was given at `now` (Unix time, s); keep at most `limit` of them."""
        request_id, asked, (status, body) = answered
        with self._transaction(now) as transaction:
            transaction.execute(
                "INSERT INTO replies (request_id, asked, status, body) VALUES (?, ?, ?, ?)",
                (request_id, asked, status, body.whole()),
            )
            oldest = "DELETE FROM replies WHERE number <= (SELECT max(number) FROM replies) - ?"
            transaction.execute(oldest, (limit,))

    def save_snapshot(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the snapshot of the chip, and drop the calls that it contains."""
        with self._transaction(None) as transaction:
            transaction.execute("DELETE FROM calls")
            transaction.execute("DELETE FROM tensors")
            blocks = ((name, pack({name: tensor})) for name, tensor in tensors.items())
            transaction.executemany("INSERT INTO tensors VALUES (?, ?)", blocks)

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        self._connection.close()

    @contextmanager
    def _transaction(self, now: float | None) -> Iterator[sqlite3.Connection]:
        """Write all of the block or nothing; `now` is the time of the call, if it is one."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if now is not None:
                self._connection.execute("UPDATE about SET driven_at = ?", (now,))
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
