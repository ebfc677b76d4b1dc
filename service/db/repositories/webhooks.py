"""Webhooks: made, changed and deleted; leased by whoever sends; what came of each attempt."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.webhook_tables import ERROR_MAX, Webhook
from service.errors import ConflictError, WebhookNotFoundError

WEBHOOKS_MAX = 100


class Turn(NamedTuple):
    """One process's turn to send the events of a webhook, and what it needs for that."""

    webhook_id: str
    lease: int  # its writes count as long as nobody else's turn has begun
    url: str
    events: list[str] | None
    encrypted_secret: str
    last_seq: int
    attempts: int
    tried_since: datetime | None
    failing_since: datetime | None


class WebhookRepository:
    """Stores webhooks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, webhook_id: str) -> Webhook:
        """Return the webhook. Raises WebhookNotFoundError and RowDamagedError."""
        found = load_row(self._session, Webhook, webhook_id, WebhookNotFoundError.what)
        if found is None:
            raise WebhookNotFoundError(webhook_id)
        return found

    def lock(self, webhook_id: str) -> Webhook:
        """Return the webhook and lock its row until this unit ends.

        Raises WebhookNotFoundError and RowDamagedError.
        """
        found = load_row(self._session, Webhook, webhook_id, WebhookNotFoundError.what, lock=True)
        if found is None:
            raise WebhookNotFoundError(webhook_id)
        return found

    def list(self, page: PageRequest) -> RowPage[Webhook]:
        """Return one page of webhooks."""
        return fetch_page(self._session, select(Webhook), Webhook.id, page)

    def add(self, webhook: Webhook) -> None:
        """Store a new webhook. Raises ConflictError if there are too many."""
        count = self._session.scalar(select(func.count()).select_from(Webhook)) or 0
        if count >= WEBHOOKS_MAX:
            raise ConflictError(f"There are {count} webhooks, as many as may be; delete one first.")
        self._session.add(webhook)
        self._session.flush()

    def delete(self, webhook_id: str) -> Webhook:
        """Delete the webhook and return it. Raises WebhookNotFoundError and RowDamagedError."""
        found = self.get(webhook_id)
        self._session.delete(found)
        self._session.flush()
        return found

    def enable(self, webhook: Webhook, last_seq: int, now: datetime) -> None:
        """Let events be sent again, from the next one on."""
        webhook.enabled, webhook.last_seq, webhook.next_try_at = True, last_seq, now
        webhook.attempts, webhook.tried_since, webhook.failing_since = 0, None, None
        webhook.error = None

    def due(self, now: datetime) -> Sequence[str]:
        """Return the ids of those that may be sent to, and that nobody sends to now."""
        query = select(Webhook.id).where(_may_send(now)).order_by(Webhook.next_try_at)
        return self._session.scalars(query).all()

    def reach(self, webhook_id: str) -> tuple[int, Sequence[str] | None]:
        """Return the number of the last event that is done with, and the types that are wanted."""
        query = select(Webhook.last_seq, Webhook.events).where(Webhook.id == webhook_id)
        row = self._session.execute(query).one()
        return row.last_seq, row.events

    def begin_turn(self, webhook_id: str, now: datetime, ttl: timedelta) -> Turn | None:
        """Begin to send; None while another process does, or if nothing may be sent."""
        row = self._session.execute(
            update(Webhook)
            .where(Webhook.id == webhook_id, _may_send(now))
            .values(lease=Webhook.lease + 1, leased_until=now + ttl)
            .returning(
                Webhook.lease,
                Webhook.url,
                Webhook.events,
                Webhook.encrypted_secret,
                Webhook.last_seq,
                Webhook.attempts,
                Webhook.tried_since,
                Webhook.failing_since,
            )
        ).one_or_none()
        return None if row is None else Turn(webhook_id, **row._asdict())

    def end_turn(self, turn: Turn) -> None:
        """Let any process send from now on."""
        self._change(turn, leased_until=None)

    def delivered(self, turn: Turn, seq: int, now: datetime, ttl: timedelta) -> bool:
        """Store a delivery; False if somebody else's turn has begun, or the webhook is changed."""
        fresh = {"attempts": 0, "tried_since": None, "failing_since": None, "error": None}
        return self._change(
            turn, last_seq=seq, delivered_at=now, next_try_at=now, leased_until=now + ttl, **fresh
        )

    def skipped(self, turn: Turn, seq: int) -> bool:
        """Store that no event up to this number is wanted."""
        return self._change(turn, last_seq=seq)

    def failed(
        self, turn: Turn, error: str, now: datetime, next_try_at: datetime, *, first: datetime
    ) -> bool:
        """Store an attempt that failed; `first` is the time of the first one at this event."""
        return self._change(
            turn,
            attempts=turn.attempts + 1,
            tried_since=first,
            failing_since=turn.failing_since or now,
            next_try_at=next_try_at,
            error=error[:ERROR_MAX],
        )

    def gave_up(self, turn: Turn, seq: int, error: str, now: datetime) -> bool:
        """Store that an event was refused for too long, and is left out."""
        return self._change(
            turn,
            last_seq=seq,
            attempts=0,
            tried_since=None,
            next_try_at=now,
            given_up=Webhook.given_up + 1,
            error=error[:ERROR_MAX],
        )

    def disable(self, turn: Turn, reason: str, now: datetime) -> bool:
        """Send nothing any more until somebody enables the webhook again."""
        return self._change(turn, enabled=False, updated_at=now, error=reason[:ERROR_MAX])

    def _change(self, turn: Turn, **values: Any) -> bool:
        changed = self._session.scalar(
            update(Webhook)
            .where(Webhook.id == turn.webhook_id, Webhook.lease == turn.lease)
            .values(values)
            .returning(Webhook.id)
        )
        return changed is not None


def _may_send(now: datetime) -> Any:
    free = or_(Webhook.leased_until.is_(None), Webhook.leased_until < now)
    return and_(Webhook.enabled, Webhook.next_try_at <= now, free)
