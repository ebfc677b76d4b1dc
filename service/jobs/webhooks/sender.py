"""Sends events to webhooks: a thread of every process that runs jobs, one process for each webhook.

A webhook gets its events one after the other. One that fails is sent again after a pause that
doubles, so that those behind it wait; it is given up if the receiver refuses it for a day.
"""

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy.orm import Session

from service.db.outage import AWAY
from service.db.repositories.audit import SERVICE, AuditRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.webhooks import Turn, WebhookRepository
from service.db.session import Database, clock
from service.db.tables import Event
from service.jobs.periodic import apart
from service.jobs.webhooks.delivery import DELIVERY_S, Outcome, deliver, webhook_networks
from service.jobs.webhooks.message import message_of
from service.logs import warn_in_a_line
from service.secret_cipher import SecretCipher
from service.settings import Settings

QUIET = ("job.progress", "job.log")  # sent only if they are asked for by name
_INTERVAL = 1.0  # s between two looks for new events
_THREADS = 8  # webhooks that are sent to at a time
_TURN = 20.0  # s after which others get their turn
_LEASE = timedelta(seconds=2 * _TURN + 2 * DELIVERY_S)
_BATCH = 20  # events that are read at a time
_FAR_BEHIND = 1000  # numbers of unwanted events after which the place is stored
_PAUSE_MAX = timedelta(hours=6)
_REFUSED_FOR = timedelta(days=1)
_AWAY = "webhooks: sending failed, events wait until the next look"
_NOT_SENT = "webhooks: sending to one failed, its events wait until the next look"
_LOST = "the secret cannot be decrypted with the keys that are known here; set another one"


class Retries(NamedTuple):
    """When an event is sent again, and when a webhook is disabled."""

    first: timedelta
    disable_after: timedelta

    def pause(self, attempts: int) -> timedelta:
        """Return the pause after so many failed attempts, doubled each time, with some chance."""
        doubled: timedelta = self.first * 2 ** min(attempts - 1, 30)
        return min(doubled, _PAUSE_MAX) * random.uniform(0.9, 1.1)  # nosec B311 # no secret


class WebhookSender:
    """The thread that looks for events to send, and those that send them."""

    def __init__(self, settings: Settings, database: Database, cipher: SecretCipher) -> None:
        self._database = database
        self._cipher = cipher
        self._networks = webhook_networks(settings)
        self._retries = Retries(
            timedelta(seconds=settings.webhook_retry_s),
            timedelta(days=settings.webhook_disable_days),
        )
        self._sending: dict[str, Future[None]] = {}
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more; wait for the attempts that have begun."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._threads.shutdown(cancel_futures=True)

    def run_once(self) -> None:
        """Begin to send what is due. An error, such as a database that is away, is logged."""
        self._sending = {name: one for name, one in self._sending.items() if not one.done()}
        try:
            for webhook_id in apart(self._due, _AWAY) or ():
                if webhook_id not in self._sending and self._has_news(webhook_id):
                    self._sending[webhook_id] = self._threads.submit(self._send, webhook_id)
        except AWAY as error:
            warn_in_a_line(__name__, _AWAY, error)

    def wait(self) -> None:
        """Wait until nothing is being sent."""
        for one in list(self._sending.values()):
            one.result()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL):
            self.run_once()

    def _due(self) -> list[str]:
        with self._database.reading() as session:
            return list(WebhookRepository(session).due(clock(session)))

    def _has_news(self, webhook_id: str) -> bool:
        """Return whether there is something to send; not for one whose row cannot be read."""
        news = apart(lambda: self._read_news(webhook_id), _NOT_SENT, webhook_id=webhook_id)
        return bool(news)

    def _read_news(self, webhook_id: str) -> bool:
        with self._database.reading() as session:
            seq, types = WebhookRepository(session).reach(webhook_id)
            events = EventRepository(session)
            return bool(_next(events, seq, types, 1)) or events.last() > seq + _FAR_BEHIND

    def _send(self, webhook_id: str) -> None:
        try:
            apart(lambda: self._take_turn(webhook_id), _NOT_SENT, webhook_id=webhook_id)
        except AWAY as error:
            warn_in_a_line(__name__, _AWAY, error, webhook_id=webhook_id)

    def _take_turn(self, webhook_id: str) -> None:
        with self._database.writing() as session:
            turn = WebhookRepository(session).begin_turn(webhook_id, clock(session), _LEASE)
        if turn is None:
            return
        try:
            secret = self._cipher.decrypt(turn.encrypted_secret)
            if secret is None:
                self._disable(turn, _LOST)
                return
            self._send_all(turn, secret)
        finally:
            with self._database.writing() as session:
                WebhookRepository(session).end_turn(turn)

    def _send_all(self, turn: Turn, secret: str) -> None:
        """Send events until one fails, none is left, or others are to get their turn."""
        end, seq = time.monotonic() + _TURN, turn.last_seq
        while events := self._events_after(turn, seq):
            for event in events:
                if self._stopping.is_set() or time.monotonic() >= end:
                    return
                if not self._sent(turn, secret, event):
                    return
                turn = turn._replace(attempts=0, tried_since=None, failing_since=None)
                seq = event.seq

    def _events_after(self, turn: Turn, seq: int) -> list[Event]:
        with self._database.reading() as session:
            events = EventRepository(session)
            found, last = _next(events, seq, turn.events, _BATCH), events.last()
        if not found and last > seq + _FAR_BEHIND:
            with self._database.writing() as session:
                WebhookRepository(session).skipped(turn, last)
        return found

    def _sent(self, turn: Turn, secret: str, event: Event) -> bool:
        """Send one event and store what came of it; False if the turn is over."""
        outcome = self._attempt(turn, secret, event)
        with self._database.writing() as session:
            webhooks, now = WebhookRepository(session), clock(session)
            if outcome.error is None:
                return webhooks.delivered(turn, event.seq, now, _LEASE)
            self._failed(session, turn, event.seq, outcome, now)
        return False

    def _attempt(self, turn: Turn, secret: str, event: Event) -> Outcome:
        try:
            message = message_of(event)
        except ValueError as error:
            what = "webhooks: an event is damaged, it is left out"
            warn_in_a_line(__name__, what, error, seq=str(event.seq))
            return Outcome()
        return deliver(turn.url, secret, message, self._networks)

    def _failed(
        self, session: Session, turn: Turn, seq: int, outcome: Outcome, now: datetime
    ) -> None:
        webhooks, error = WebhookRepository(session), str(outcome.error)
        log = structlog.get_logger(__name__).bind(webhook_id=turn.webhook_id, error=error, seq=seq)
        failing = now - (turn.failing_since or now)
        if outcome.gone or failing >= self._retries.disable_after:
            self._disable_in(session, turn, f"{error}; nothing is sent any more", now)
            return
        first = turn.tried_since or now
        if outcome.refused and now - first >= _REFUSED_FOR:
            webhooks.gave_up(turn, seq, error, now)
            log.warning("webhooks: an event was refused for a day, it is left out")
            return
        pause = self._retries.pause(turn.attempts + 1)
        webhooks.failed(turn, error, now, now + pause, first=first)
        log.info("webhooks: a delivery failed, it is tried again", again_in_s=pause.seconds)

    def _disable(self, turn: Turn, reason: str) -> None:
        with self._database.writing() as session:
            self._disable_in(session, turn, reason, clock(session))

    def _disable_in(self, session: Session, turn: Turn, reason: str, now: datetime) -> None:
        if WebhookRepository(session).disable(turn, reason, now):
            AuditRepository(session).record(
                SERVICE, "webhook.disabled", turn.webhook_id, now, reason=reason
            )
            structlog.get_logger(__name__).warning(
                "webhooks: one is disabled, it gets no event until it is enabled again",
                webhook_id=turn.webhook_id,
                reason=reason,
            )


def _next(
    events: EventRepository, seq: int, types: Sequence[str] | None, limit: int
) -> list[Event]:
    """Return the next events of these types, or of all but the quiet ones."""
    if types is None:
        return events.without(QUIET, seq, limit)
    return events.after(seq, types=types, limit=limit)
