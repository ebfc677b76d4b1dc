"""Entries that a unit of work adds, and that are written when it commits, under the lock of events.

They get their numbers there: a reader that has read up to a number has therefore seen every entry
below it, and two transactions never number alike. All else of the unit is written before that lock
is taken, so that nothing is locked after it and it cannot be part of a deadlock.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from service.db import locks

Entry = TypeVar("Entry")
_HELD_IN = "transaction that holds the lock of events"


class AtCommit(Generic[Entry]):
    """Entries of one kind. They stand if and only if the changes do that they were added with."""

    def __init__(self, kind: str, write: Callable[[Session, Sequence[Entry]], None]) -> None:
        """`write` stores the entries of one unit of work, in the order in which they were added."""
        self._kind = f"{kind} that are written at the commit"
        self._store = write

    def add(self, session: Session, entry: Entry) -> None:
        """Add an entry, to be written at the commit; a savepoint that is undone takes it along."""
        if self._kind not in session.info:
            session.info[self._kind] = []
            event.listen(session, "before_commit", self.write)
            event.listen(session, "after_soft_rollback", self._forget)
        self._pending(session).append(_Pending(entry, session.get_nested_transaction()))

    def write(self, session: Session) -> None:
        """Write what is pending: at the commit, or before the same unit reads entries."""
        pending = self._pending(session)
        if not pending or session.in_nested_transaction():
            return
        session.flush()
        _hold_events(session)
        entries = [one.entry for one in pending]
        pending.clear()
        self._store(session, entries)

    def _pending(self, session: Session) -> list["_Pending[Entry]"]:
        pending: list[_Pending[Entry]] = session.info.get(self._kind, [])
        return pending

    def _forget(self, session: Session, undone: SessionTransaction) -> None:
        """Drop what was added since a savepoint, or since the beginning, that is rolled back."""
        pending = self._pending(session)
        whole = undone.parent is None
        pending[:] = [one for one in pending if not (whole or _within(one.savepoint, undone))]


def _hold_events(session: Session) -> None:
    """Hold the lock of events; entries of several kinds take it once for their transaction."""
    transaction = session.get_transaction()
    if session.info.get(_HELD_IN) is not transaction:
        locks.hold(session, locks.EVENTS)
        session.info[_HELD_IN] = transaction


class _Pending(NamedTuple, Generic[Entry]):
    entry: Entry
    savepoint: SessionTransaction | None  # in which it was added


def _within(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer
