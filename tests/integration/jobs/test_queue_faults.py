"""What looks after the queue goes on when a part of it fails."""

import time
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from service.db.repositories.dispatches import Dispatch
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.jobs import JobRepository
from service.db.session import Database
from service.jobs.periodic import PeriodicTask
from service.jobs.queue import stalled
from service.jobs.queue.dbos_queue import DbosQueue, TakenDispatch
from service.jobs.queue.failover import Failover
from service.jobs.queue.maintenance import QueueMaintenance
from service.jobs.upkeep.upkeep import Upkeep
from service.settings import Settings
from service.states import JobStatus
from tests.integration.jobs.begun import dispatched, job_of, now

SILENCE = timedelta(seconds=10)


class FakeQueue:
    """A queue in which two executors have taken a dispatch each."""

    def __init__(self) -> None:
        self.resumed: list[str] = []

    def taken(self) -> list[TakenDispatch]:
        return [TakenDispatch("a.1", "dead"), TakenDispatch("b.1", "alive")]

    def resume(self, names: list[str]) -> None:
        self.resumed += names


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the fail-over reads."""
    seconds = [100.0]
    monkeypatch.setattr("service.jobs.queue.failover.time.monotonic", lambda: seconds[0])
    return seconds


@pytest.fixture
def queue(database: Database, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """Executors of which one is silent, on a database that may have many of them."""
    monkeypatch.setattr(Database, "is_sqlite", False)
    with database.writing() as session:
        executors = ExecutorRepository(session)
        executors.beat("alive", 2, now())
        executors.beat("dead", 2, now() - 2 * SILENCE)
    return FakeQueue()


def test_a_dead_executor_is_replaced_after_a_watch_as_long_as_its_silence(
    database: Database, queue: FakeQueue, clock: list[float]
) -> None:
    failover = Failover(database, queue, SILENCE)  # type: ignore[arg-type]
    for clock[0] in (101.0, 103.0, 106.0, 109.0):
        failover.run_if_due()
    assert queue.resumed == []
    clock[0] = 112.0
    failover.run_if_due()
    assert queue.resumed == ["a.1"]


def test_an_outage_and_a_frozen_process_start_the_watch_anew(
    database: Database, queue: FakeQueue, clock: list[float]
) -> None:
    failover = Failover(database, queue, SILENCE)  # type: ignore[arg-type]
    clock[0] = 109.0
    failover.restart_watch()  # the database was away
    failover.run_if_due()
    clock[0] = 112.0
    failover.run_if_due()
    assert queue.resumed == []
    clock[0] = 130.0  # longer than a living executor is silent: this process was frozen
    failover.run_if_due()
    assert queue.resumed == []
    for clock[0] in (133.0, 136.0, 139.0, 142.0):
        failover.run_if_due()
    assert queue.resumed == ["a.1"]


def test_on_sqlite_nobody_is_replaced(database: Database, clock: list[float]) -> None:
    queue = FakeQueue()
    failover = Failover(database, queue, SILENCE)  # type: ignore[arg-type]
    for clock[0] in (103.0, 106.0, 109.0, 112.0, 115.0):
        failover.run_if_due()
    assert queue.resumed == []


def test_a_task_that_fails_is_logged_and_tried_again(database: Database) -> None:
    queue = DbosQueue(database, SILENCE)
    maintenance, tries = QueueMaintenance(database, queue, SILENCE), list[float]()

    def fail() -> None:
        tries.append(time.monotonic())
        raise ValueError("a fault")

    maintenance.add(PeriodicTask(fail, interval=0.0))
    with capture_logs() as logs:
        maintenance.run_once()
        maintenance.run_once()
    assert len(tries) == 2
    assert {line["event"].split(",")[0] for line in logs} == {"queue maintenance failed"}
    queue.close()


@pytest.mark.parametrize(
    "fault", [OperationalError("SELECT", {}, ConnectionRefusedError()), ValueError("a fault")]
)
def test_upkeep_that_fails_is_logged_and_done_at_the_next_look(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    queue = DbosQueue(database, SILENCE)
    upkeep, planned = Upkeep(settings, database, queue, queue), list[int]()  # type: ignore[arg-type]

    def fail_once() -> int:
        planned.append(1)
        if len(planned) == 1:
            raise fault
        return 0

    monkeypatch.setattr(upkeep._planner, "plan", fail_once)
    monkeypatch.setattr(upkeep._retention, "forget", lambda: 0)
    with capture_logs() as logs:
        upkeep.run_once()
        upkeep.run_once()
    assert len(planned) == 2
    warned = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert [event.split(",")[0] for event in warned] == ["upkeep failed"]
    queue.close()


def test_a_lost_dispatch_of_a_job_that_has_ended_since_is_let_be(database: Database) -> None:
    job_id = dispatched(database, "job")
    with database.writing() as session:
        dispatch = Dispatch(job_id, 1, 5)
        JobRepository(session).request_cancel(job_id, now())
        stalled._requeue(session, dispatch, now())
    assert job_of(database, job_id).status == JobStatus.CANCELLED
