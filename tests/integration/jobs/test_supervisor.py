"""What a parent decides about its child: go on, stop it, or give the chip up."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.jobs.attempts.attempt import Attempt
from service.jobs.attempts.supervisor import Decision, Supervisor
from service.settings import Settings
from tests.integration.jobs.begun import FakeChild, begun, dispatched, now


class Watch:
    """A supervisor of one attempt, whose clock the test sets."""

    def __init__(self, settings: Settings, database: Database, attempt: Attempt) -> None:
        self.child = FakeChild([])
        self.stopping = threading.Event()
        self.attempt, self.database = attempt, database
        self.supervisor = Supervisor(
            attempt,
            self.child,  # type: ignore[arg-type]
            database,
            settings,
            self.stopping,
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds that the supervisor reads."""
    time = [1000.0]
    monkeypatch.setattr("service.jobs.attempts.supervisor.time.monotonic", lambda: time[0])

    def advance(seconds: float) -> None:
        time[0] += seconds

    return advance


def watch(settings: Settings, database: Database, chip: str | None, **parts: Any) -> Watch:
    return Watch(settings, database, begun(database, dispatched(database, "job", chip, **parts)))


def away(*_: object) -> Any:
    raise OperationalError("SELECT", {}, ConnectionRefusedError())


def test_a_job_that_outlives_its_budget_and_grace_is_stopped(
    settings: Settings, database: Database, clock: Callable[[float], None]
) -> None:
    asked = {"settings": {"budget": {"seconds": 50}}}
    watched = watch(settings, database, None, request=asked, spent={"seconds": 20.0})
    clock(30 + 119)
    assert watched.supervisor.check() is Decision.GO_ON
    clock(1)
    assert watched.supervisor.check() is Decision.TOO_LONG


def test_a_child_that_does_not_stop_when_asked_is_unresponsive(
    settings: Settings, database: Database, clock: Callable[[float], None]
) -> None:
    watched = watch(settings, database, "chip")
    with database.writing() as session:
        JobRepository(session).request_cancel("job", now())
    for seconds in (1, 1):
        clock(seconds)
        assert watched.supervisor.check() is Decision.GO_ON
    assert watched.child.kinds_sent() == ["lease", "cancel"]  # asked once
    clock(30)
    assert watched.supervisor.check() is Decision.UNRESPONSIVE


def test_a_stopping_service_waits_for_a_checkpoint_but_not_for_long(
    settings: Settings, database: Database, clock: Callable[[float], None]
) -> None:
    watched = watch(settings, database, None)
    watched.stopping.set()
    assert watched.supervisor.check() is Decision.GO_ON
    assert watched.child.kinds_sent() == ["pause"]
    clock(settings.handover_s)
    assert watched.supervisor.check() is Decision.STOPPING


def test_a_stopping_service_waits_no_longer_than_for_the_checkpoint(
    settings: Settings, database: Database, clock: Callable[[float], None]
) -> None:
    del clock
    watched = watch(settings, database, None)
    watched.supervisor.checkpoint_recorded()  # nobody has asked for it: it changes nothing
    watched.stopping.set()
    assert watched.supervisor.check() is Decision.GO_ON
    watched.supervisor.checkpoint_recorded()
    assert watched.supervisor.check() is Decision.STOPPING


def test_a_lease_that_another_attempt_holds_is_lost(
    settings: Settings, database: Database, clock: Callable[[float], None]
) -> None:
    watched = watch(settings, database, "chip")
    assert watched.supervisor.check() is Decision.GO_ON
    with database.writing() as session:
        leases, ttl = LeaseRepository(session), timedelta(seconds=60)
        leases.release("chip", watched.attempt.token)
        leases.take("chip", "another", "job", ttl, now())
    clock(settings.lease_s / 3)
    assert watched.supervisor.check() is Decision.LEASE_LOST


def test_without_a_database_a_child_works_on_while_its_lease_lasts(
    settings: Settings,
    database: Database,
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = watch(settings, database, "chip")
    assert watched.supervisor.check() is Decision.GO_ON
    monkeypatch.setattr(database, "writing", away)
    monkeypatch.setattr(database, "reading", away)
    clock(settings.lease_s - 1)
    assert watched.supervisor.check() is Decision.GO_ON
    clock(1)
    assert watched.supervisor.check() is Decision.LEASE_LOST


def test_without_a_database_a_job_without_a_chip_works_on(
    settings: Settings,
    database: Database,
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = watch(settings, database, None)
    monkeypatch.setattr(database, "reading", away)
    clock(settings.lease_s * 3)
    assert watched.supervisor.check() is Decision.GO_ON
