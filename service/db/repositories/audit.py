"""The audit trail: append-only, chained by digests in the order of the commits.

An event gets its number and its digest when its transaction commits: two transactions never chain
to the same event, and an event stands if and only if its change does.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.audit_chain import FIRST, Link
from service.db.at_commit import AtCommit
from service.db.audit_tables import AuditEvent
from service.db.isolation import ReadableRows, readable_rows
from service.db.repositories.paging import PageRequest, RowPage, fetch_page


class Actor(NamedTuple):
    """Who makes a change: the API key, and the address that it came from."""

    key_id: str | None = None
    address: str | None = None


_ACTIONS = 100  # kinds of change that are listed
SERVICE = Actor()  # the service itself, at its start


class AuditFilter(NamedTuple):
    """Which events to list; None stands for all."""

    action: str | None = None
    subject: str | None = None
    key_id: str | None = None
    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    key_ids: Collection[str] | None = None  # any of these


class AuditRepository:
    """Appends and reads audit events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def record(
        self, actor: Actor, action: str, subject: str | None, now: datetime, **data: Any
    ) -> None:
        """Add an event at the commit of this unit of work. `data` has no floats and no secrets."""
        made = AuditEvent(
            action=action, subject=subject, key_id=actor.key_id, address=actor.address
        )
        made.data, made.created_at = data, now
        _TRAIL.add(self._session, made)

    def list(self, wanted: AuditFilter, page: PageRequest) -> RowPage[AuditEvent]:
        """Return one page of events."""
        query = select(AuditEvent)
        for name, value in _equal(wanted).items():
            query = query.where(getattr(AuditEvent, name) == value)
        if wanted.key_ids is not None:
            query = query.where(AuditEvent.key_id.in_(wanted.key_ids))
        if wanted.since is not None:
            query = query.where(AuditEvent.created_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(AuditEvent.created_at < wanted.until)
        return fetch_page(self._session, query, AuditEvent.seq, page)

    def actions(self) -> Sequence[str]:
        """Return the kinds of change that were recorded, by one look at the index for each."""
        found, last = list[str](), ""
        while len(found) < _ACTIONS:
            after = select(func.min(AuditEvent.action)).where(AuditEvent.action > last)
            following = self._session.scalar(after)
            if following is None:
                break
            found.append(following)
            last = following
        return found

    def newest(self, count: int) -> ReadableRows[AuditEvent]:
        """Return the newest events, oldest first."""
        query = select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(count)
        found: ReadableRows[Any] = readable_rows(self._session, query, AuditEvent.seq)
        rows = sorted((row[0] for row in found.rows), key=lambda row: row.seq)
        return ReadableRows(rows, found.unreadable)


def _equal(wanted: AuditFilter) -> Mapping[str, str]:
    given = wanted._asdict()
    names = ("action", "subject", "key_id", "address")
    return {name: given[name] for name in names if given[name] is not None}


def _chain(session: Session, pending: Sequence[AuditEvent]) -> None:
    newest = select(AuditEvent.seq, AuditEvent.sha256).order_by(AuditEvent.seq.desc()).limit(1)
    last, previous = session.execute(newest).one_or_none() or (0, FIRST)
    for made in pending:
        last += 1
        made.seq, made.previous = last, previous
        made.sha256 = previous = Link.of(made).sha256
        session.add(made)
    session.flush()


_TRAIL = AtCommit("audit events", _chain)
