"""What an agent must not forget when it is killed: its name, the highest token, chip and answers.

A SQLite file with three tables, read at the start and written in one transaction a call. It
outlives a killed process; a power cut may take the last calls, but never half of one.
"""

import os
import secrets
import sqlite3
from collections.abc import Mapping
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
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, request_id TEXT UNIQUE NOT NULL, asked TEXT NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL);
"""
_KEPT = 4  # answers; a driver has one question open at a time


class About(NamedTuple):
    """Who the agent is, and how far it has come."""

    agent_id: str
    secret: str  # what the service proves itself with
    token: int  # the highest that was seen
    driven_at: float | None  # Unix time of the last call, s


class Reply(NamedTuple):
    """An answer as it was given, so that it can be given again."""

    asked: str  # the digest of the question
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
        self._connection.executescript(_SCHEMA)
        self._connection.execute(
            "INSERT OR IGNORE INTO about VALUES (1, ?, ?, 0, NULL)",
            (str(uuid4()), secrets.token_urlsafe(32)),
        )

    def about(self) -> About:
        row = self._connection.execute("SELECT agent_id, secret, token, driven_at FROM about")
        return About(*row.fetchone())

    def tensors(self) -> dict[str, Tensor]:
        """The chip as it was last kept; nothing where it is new."""
        rows = self._connection.execute("SELECT name, block FROM tensors")
        return {name: unpack(block)[0][name] for name, block in rows}

    def reply(self, request_id: str) -> Reply | None:
        """The answer to a question that was asked before."""
        row = self._connection.execute(
            "SELECT asked, status, body FROM answers WHERE request_id = ?", (request_id,)
        ).fetchone()
        return None if row is None else Reply(*row)

    def take_token(self, token: int) -> None:
        """From now on nothing older is obeyed."""
        self._connection.execute("UPDATE about SET token = ?", (token,))

    def keep(
        self,
        request_id: str,
        reply: Reply | None,
        changed: Mapping[str, Tensor | None],
        driven_at: float,
    ) -> None:
        """What a call changed and what it was answered: both, or neither. None is gone."""
        with _transaction(self._connection) as unit:
            unit.execute("UPDATE about SET driven_at = ?", (driven_at,))
            _write(unit, changed)
            if reply is not None:
                _remember(unit, request_id, reply)

    def close(self) -> None:
        self._connection.close()


def _write(unit: sqlite3.Connection, changed: Mapping[str, Tensor | None]) -> None:
    for name, tensor in changed.items():
        if tensor is None:
            unit.execute("DELETE FROM tensors WHERE name = ?", (name,))
        else:
            block = pack({name: tensor})
            unit.execute("INSERT OR REPLACE INTO tensors VALUES (?, ?)", (name, block))


def _remember(unit: sqlite3.Connection, request_id: str, reply: Reply) -> None:
    unit.execute(
        "INSERT INTO answers (request_id, asked, status, body) VALUES (?, ?, ?, ?)",
        (request_id, *reply),
    )
    oldest = "DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?"
    unit.execute(oldest, (_KEPT,))


class _transaction:
    """BEGIN to COMMIT, or ROLLBACK."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("ROLLBACK" if kind else "COMMIT")
