"""What an agent must not forget when it is killed: its name, the highest token, chip and calls.

A SQLite file, written in one transaction a call. It outlives a killed process; a power cut may take
the last calls, but never half of one.
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
_PAGES = 16_384  # of 4 KiB, that the write-ahead log holds before SQLite copies them: 64 MiB


class About(NamedTuple):
    """Who the agent is, and how far it has come."""

    agent_id: str
    secret: str  # what the service proves itself with
    token: int  # the highest that was seen
    driven_at: float | None  # Unix time of the last call, s


class KeptCall(NamedTuple):
    """A call that changed the chip since it was last written down as a whole."""

    request_id: str
    verb: str
    content: bytes
    chip_time: float  # on the chip's clock when it began, s


class KeptReply(NamedTuple):
    """An answer as it was given, so that it can be given again."""

    request_id: str
    asked: str  # verb and digest of the question
    status: int
    body: bytes


class Journal:
    """One agent's memory. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the secret
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES}")
        self._connection.executescript(_SCHEMA)
        self._connection.execute(
            "INSERT OR IGNORE INTO about VALUES (1, ?, ?, 0, NULL)",
            (str(uuid4()), secrets.token_urlsafe(32)),
        )

    def about(self) -> About:
        row = self._connection.execute("SELECT agent_id, secret, token, driven_at FROM about")
        return About(*row.fetchone())

    def tensors(self) -> dict[str, Tensor]:
        """The chip as it was last written down as a whole; nothing where it is new."""
        rows = self._connection.execute("SELECT name, block FROM tensors")
        return {name: unpack(block)[0][name] for name, block in rows}

    def calls(self) -> list[KeptCall]:
        """What it did since then, oldest first."""
        columns = "request_id, verb, content, chip_time"
        rows = self._connection.execute(f"SELECT {columns} FROM calls ORDER BY number")
        return [KeptCall(*row) for row in rows]

    def replies(self) -> list[KeptReply]:
        """The last answers, oldest first."""
        columns = "request_id, asked, status, body"
        rows = self._connection.execute(f"SELECT {columns} FROM replies ORDER BY number")
        return [KeptReply(*row) for row in rows]

    def take_token(self, token: int) -> None:
        """From now on nothing older is obeyed."""
        self._connection.execute("UPDATE about SET token = ?", (token,))

    def keep_call(self, call: KeptCall, now: float) -> None:
        """Done after all others that are kept."""
        with self._transaction(now) as unit:
            unit.execute(
                "INSERT INTO calls (request_id, verb, content, chip_time) VALUES (?, ?, ?, ?)", call
            )

    def keep_reply(self, reply: KeptReply, most: int, now: float) -> None:
        """Given after all others; of these so many are kept."""
        with self._transaction(now) as unit:
            unit.execute(
                "INSERT INTO replies (request_id, asked, status, body) VALUES (?, ?, ?, ?)", reply
            )
            oldest = "DELETE FROM replies WHERE number <= (SELECT max(number) FROM replies) - ?"
            unit.execute(oldest, (most,))

    def keep_chip(self, tensors: Mapping[str, Tensor]) -> None:
        """As a whole: the calls until now are in it."""
        with self._transaction(None) as unit:
            unit.execute("DELETE FROM calls")
            unit.execute("DELETE FROM tensors")
            blocks = ((name, pack({name: tensor})) for name, tensor in tensors.items())
            unit.executemany("INSERT INTO tensors VALUES (?, ?)", blocks)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, now: float | None) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; with the time of the call, where it is one."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if now is not None:
                self._connection.execute("UPDATE about SET driven_at = ?", (now,))
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
