"""Data of the audit page: who did what, from where and when, and whether the trail is whole."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.audit_chain import EMPTY, BrokenChainError, Head, check_chain
from service.db.audit_tables import AuditEvent
from service.db.isolation import ReadableRows, going_on
from service.db.repositories.audit import AuditFilter, AuditRepository
from service.db.repositories.keys import KeyRepository
from service.db.repositories.names import is_id
from service.db.repositories.paging import PageRequest
from service.db.repositories.subjects import Subject, SubjectRepository
from service.formatting import DASH, amount, plural, short_id
from service.logs import warn_in_a_line

_SHOWN = 100
_CHECKED = 1000  # newest events that every view checks: some milliseconds
_TEXT = 160  # characters of the details of one event
_DIGITS = 12  # of a digest
_ADDRESSES = {
    "chip": "/chips/{id}",
    "teacher": "/teachers/{id}",
    "student": "/students/{id}",
    "job": "/jobs/{id}",
    "agent": "/chips/{name}",
    "key": "/keys",
}


class TrailQuery(NamedTuple):
    """Which events to show, from the query of the address; empty means any."""

    key: str = ""  # name or id
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None


class TrailRow(NamedTuple):
    """One change."""

    seq: int
    at: datetime | None
    who: str
    key_id: str | None
    address: str
    action: str
    what: str  # kind and name of what was changed
    link: tuple[str, str] | None  # pattern of an address, and the word to put in
    details: str


class Chain(NamedTuple):
    """Whether the newest events are chained, as a sentence."""

    whole: bool
    sentence: str
    head: str  # number and digest of the newest event, as `audit verify --known` takes it


class Trail(NamedTuple):
    """All data of the audit page."""

    rows: tuple[TrailRow, ...]
    next_cursor: str | None
    actions: tuple[str, ...]  # to choose from
    chain: Chain


def read_trail(session: Session, query: TrailQuery) -> Trail:
    """Read the data of the audit page. Raises ForeignCursorError."""
    audit = AuditRepository(session)
    wanted = AuditFilter(
        action=query.action or None,
        since=query.since,
        until=query.until,
        key_ids=_key_ids(session, query.key),
    )
    found = audit.list(wanted, PageRequest(_SHOWN, query.cursor))
    actions = {*audit.actions(), *([query.action] if query.action else [])}
    return Trail(
        rows=_rows(session, found.rows, list(map(int, found.unreadable))),
        next_cursor=found.next_cursor,
        actions=tuple(sorted(actions)),
        chain=_chain(audit.newest(_CHECKED)),
    )


def _key_ids(session: Session, key: str) -> Sequence[str] | None:
    """Return the ids of the keys that a word names, revoked ones too; None for no word."""
    if not key:
        return None
    return [key] if is_id(key) else [row.id for row in KeyRepository(session).named(key)]


def _rows(
    session: Session, events: Sequence[AuditEvent], unreadable: Sequence[int]
) -> tuple[TrailRow, ...]:
    """Build the rows of events, newest first, also of those that cannot be read."""
    names = KeyRepository(session).names({event.key_id for event in events if event.key_id})
    ids = {event.subject for event in events if event.subject}
    subjects = SubjectRepository(session).of(ids | set(_ids_in(events)))
    rows = [_any_row(event, names, subjects) for event in events]
    rows += [_unreadable(seq) for seq in unreadable]
    return tuple(sorted(rows, key=lambda row: row.seq, reverse=True))


def _any_row(
    event: AuditEvent, keys: Mapping[str, str], subjects: Mapping[str, Subject]
) -> TrailRow:
    with going_on() as outcome:
        return _row(event, keys, subjects)
    if outcome.error is not None:
        warning = "pages: an audit event is damaged, it is shown as unreadable"
        warn_in_a_line(__name__, warning, outcome.error, seq=str(event.seq))
    return _unreadable(event.seq)


def _row(event: AuditEvent, keys: Mapping[str, str], subjects: Mapping[str, Subject]) -> TrailRow:
    subject = subjects.get(event.subject or "")
    return TrailRow(
        seq=event.seq,
        at=event.created_at,
        who=_who(event, keys),
        key_id=event.key_id,
        address=event.address or DASH,
        action=event.action,
        what=_what(event, subject),
        link=_link(subject),
        details=_details(event.data, subject, subjects),
    )


def _who(event: AuditEvent, keys: Mapping[str, str]) -> str:
    if event.key_id is not None:
        return keys.get(event.key_id, f"a deleted key {short_id(event.key_id)}")
    return "the service" if event.address is None else "nobody signed in"


def _what(event: AuditEvent, subject: Subject | None) -> str:
    if event.subject is None:
        return DASH
    if subject is None:
        return f"deleted since, {short_id(event.subject)}"
    if subject.kind == "agent":
        return f"agent of {subject.name}"
    return f"{subject.kind} {subject.name or short_id(subject.id)}"


def _link(subject: Subject | None) -> tuple[str, str] | None:
    pattern = _ADDRESSES.get(subject.kind) if subject else None
    if subject is None or pattern is None:
        return None
    begin, _, field = pattern.partition("{")
    return (begin, getattr(subject, field.rstrip("}")) if field else "")


def _ids_in(events: Sequence[AuditEvent]) -> Iterator[str]:
    """Yield the ids that the details of events name."""
    for event in events:
        values = event.data.values() if isinstance(event.data, dict) else ()
        yield from (value for value in values if isinstance(value, str) and is_id(value))


def _details(data: Mapping[str, Any], subject: Subject | None, known: Mapping[str, Subject]) -> str:
    """Format what else is told of a change: names in place of ids, and digests in short."""
    words = []
    for name, value in data.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if value is None or (name == "name" and subject is not None and shown == subject.name):
            continue
        if name == "sha256":
            shown = shown[:_DIGITS]
        if is_id(shown):
            shown = (known[shown].name if shown in known else "") or short_id(shown)
        words.append(f"{name.removesuffix('_id').replace('_', ' ')} {shown}")
    text = "; ".join(words)
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def _unreadable(seq: int) -> TrailRow:
    return TrailRow(seq, None, DASH, None, DASH, "unreadable", "its row cannot be read", None, "")


def _chain(newest: ReadableRows[AuditEvent]) -> Chain:
    """Check the newest events; those before them are checked by the command."""
    if newest.unreadable:
        numbers = ", ".join(map(str, sorted(map(int, newest.unreadable))[:5]))
        return Chain(False, f"The trail is not whole: event {numbers} cannot be read.", "")
    if not newest.rows:
        return Chain(True, "There are no events yet.", "")
    first = newest.rows[0]
    begin = EMPTY if first.seq == 1 else Head(first.seq - 1, first.previous)
    try:
        head = check_chain(newest.rows, begin=begin)
    except BrokenChainError as error:
        return Chain(False, f"The trail is not whole: {error}", "")
    whole = first.seq == 1
    which = f"All {plural(head.seq, 'event')}" if whole else f"The newest {amount(_CHECKED)} events"
    rest = "" if whole else f" of {amount(head.seq)}"
    return Chain(True, f"{which}{rest} are chained; none was changed.", f"{head.seq}:{head.sha256}")
