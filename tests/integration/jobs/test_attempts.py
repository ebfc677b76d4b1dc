"""How attempts end: with a result, without one, killed, or given up."""

import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from ltl_core.errors import LeaseLostError
from service.artifacts import ArtifactStore
from service.db.repositories.events import EventRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.jobs.attempts.attempt import (
    Attempt,
    DispatchTicket,
    Holder,
    Refusal,
    begin_attempt,
    leave_attempt,
    lose_attempt,
)
from service.jobs.attempts.attempt_runner import AttemptRunner
from service.jobs.attempts.runner import JobRunner
from service.jobs.attempts.supervisor import Decision, Supervisor
from service.jobs.errors import JobTakenOverError, ServiceStoppingError
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.kinds.spec import no_inputs
from service.jobs.messages import Checkpointed, Ended, Logged, Progressed
from service.settings import Settings
from service.states import JobStatus
from tests.integration.jobs.begun import (
    EXECUTOR,
    TTL,
    FakeChild,
    FakeChildren,
    Script,
    begun,
    dispatched,
    job_of,
    now,
)

HALF_A_SECOND = timedelta(seconds=0.5)


def run(
    settings: Settings,
    database: Database,
    attempt: Attempt,
    script: Script,
    kinds: JobKinds = KINDS,
) -> FakeChild:
    """Run the attempt with a child that follows the script."""
    child = FakeChild(script)
    children: Any = FakeChildren(child)
    AttemptRunner(settings, database, kinds, children, threading.Event()).run(attempt)
    return child


def holder_of(database: Database, chip: str) -> str | None:
    with database.reading() as session:
        lease = LeaseRepository(session).get(chip)
    assert lease is not None
    return lease.holder


def events(database: Database, job_id: str) -> list[str]:
    with database.reading() as session:
        return [event.type for event in EventRepository(session).after(0, job_id=job_id)]


def decide(monkeypatch: pytest.MonkeyPatch, decision: Decision) -> None:
    monkeypatch.setattr(Supervisor, "check", lambda _: decision)


def test_a_ticket_of_an_earlier_dispatch_is_void(database: Database) -> None:
    dispatched(database, "job", turn=2)
    with database.writing() as session:
        ticket = DispatchTicket("job", 1)
        assert begin_attempt(session, ticket, Holder(EXECUTOR, TTL), now()) is Refusal.OVER
    assert job_of(database, "job").attempt == 0


def test_a_job_whose_own_earlier_attempt_holds_the_chip_tries_again_soon(
    database: Database,
) -> None:
    begun(database, dispatched(database, "job", "chip"))
    with database.writing() as session:
        ticket, holder = DispatchTicket("job", 1), Holder("another", TTL)
        assert begin_attempt(session, ticket, holder, now()) is Refusal.BUSY
    assert job_of(database, "job").status == JobStatus.RUNNING


def test_a_job_that_broke_off_waits_while_another_holds_its_chip(database: Database) -> None:
    attempt = begun(database, dispatched(database, "job", "chip"))
    with database.writing() as session:
        leases = LeaseRepository(session)
        leases.release("chip", attempt.token)
        leases.take("chip", "another", "another job", TTL, now())
        ticket = DispatchTicket("job", 1)
        assert begin_attempt(session, ticket, Holder(EXECUTOR, TTL), now()) is Refusal.LATER
    job = job_of(database, "job")
    assert (job.status, job.called_at) == (JobStatus.WAITING_FOR_CHIP, None)


def test_a_job_that_needs_what_is_gone_fails_with_the_reason(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job", "chip", student_id="gone"))
    child = run(settings, database, attempt, [])
    job = job_of(database, "job")
    assert job.status == JobStatus.FAILED
    assert "gone" in str(job.reason)
    assert child.sent == []  # no child was started
    assert holder_of(database, "chip") is None


def test_a_job_of_a_kind_that_this_release_does_not_know_fails_with_the_reason(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job", kind="made-up"))
    run(settings, database, attempt, [])
    job = job_of(database, "job")
    assert (job.status, job.reason) == (
        JobStatus.FAILED,
        "This release knows no job of kind 'made-up'.",
    )


def test_a_child_that_dies_leaves_the_job_to_its_next_attempt(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    child = run(settings, database, attempt, [Logged(line="a step"), EOFError])
    assert child.finished
    assert job_of(database, "job").status == JobStatus.RUNNING
    with database.reading() as session:
        logged = EventRepository(session).after(0, job_id="job", types=["job.log"])
    assert [event.data["line"] for event in logged] == [
        "a step",
        "The job's process died: killed by signal 9.",
    ]
    again = begun(database, "job")
    assert again.job.attempt == 2
    assert "job.interrupted" in events(database, "job")


def test_the_progress_of_many_steps_is_told_at_most_twice_a_second(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    steps: Script = [
        Progressed(progress={"phase": "training", "step": step}, spent={}) for step in range(40)
    ]
    began = now()
    run(settings, database, attempt, [*steps, EOFError])
    took = (now() - began).total_seconds()
    with database.reading() as session:
        told = EventRepository(session).after(0, job_id="job", types=["job.progress"])
    assert 1 <= len(told) <= 2 * took + 1
    times = [event.created_at for event in told]
    assert all(later - earlier >= HALF_A_SECOND for earlier, later in pairwise(times))
    assert (job_of(database, "job").progress or {})["step"] == 39  # the row has the last one


def test_a_child_whose_lease_ran_out_has_not_failed(database: Database, settings: Settings) -> None:
    attempt = begun(database, dispatched(database, "job"))
    lost = Ended(status=JobStatus.FAILED, error=LeaseLostError.__name__)
    run(settings, database, attempt, [lost])
    job = job_of(database, "job")
    assert (job.status, job.called_at) == (JobStatus.QUEUED, None)
    assert events(database, "job")[-1] == "lease.lost"


def test_an_attempt_that_was_superseded_kills_its_child_and_writes_nothing(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    begun(database, "job")  # another executor goes on with the job
    child = FakeChild([Logged(line="too late")])
    children: Any = FakeChildren(child)
    runner = AttemptRunner(settings, database, KINDS, children, threading.Event())
    with pytest.raises(JobTakenOverError):
        runner.run(attempt)
    assert child.finished
    assert job_of(database, "job").attempt == 2
    assert "job.log" not in events(database, "job")


def test_a_checkpoint_is_recorded_and_replaces_the_one_before(
    settings: Settings, database: Database
) -> None:
    store = ArtifactStore(settings.artifacts_dir)
    first, second = store.put(b"first"), store.put(b"second")
    attempt = begun(database, dispatched(database, "job"))
    script: Script = [Checkpointed(sha256=first, step=1), Checkpointed(sha256=second, step=2)]
    run(settings, database, attempt, [*script, EOFError])
    job = job_of(database, "job")
    assert (job.checkpoint_sha256, job.checkpoint_step) == (second, 2)
    assert [store.has(first), store.has(second)] == [False, True]


def test_a_lost_lease_leaves_the_job_waiting(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(monkeypatch, Decision.LEASE_LOST)
    run(settings, database, begun(database, dispatched(database, "job")), [])
    assert job_of(database, "job").status == JobStatus.QUEUED
    assert events(database, "job")[-1] == "lease.lost"


@pytest.mark.parametrize(
    ("decision", "status"),
    [(Decision.TOO_LONG, JobStatus.FAILED), (Decision.UNRESPONSIVE, JobStatus.CANCELLED)],
)
def test_a_child_that_is_killed_gives_its_job_the_reason(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    decision: Decision,
    status: JobStatus,
) -> None:
    decide(monkeypatch, decision)
    child = run(settings, database, begun(database, dispatched(database, "job")), [])
    job = job_of(database, "job")
    assert (job.status, job.reason) == (status, decision.value)
    assert child.finished


def test_a_stopped_service_puts_its_job_back(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(monkeypatch, Decision.STOPPING)
    attempt = begun(database, dispatched(database, "job", "chip"))
    kinds = KINDS.adding(KINDS["evaluate"]._replace(inputs=no_inputs))  # it has no student
    with pytest.raises(ServiceStoppingError):
        run(settings, database, attempt, [], kinds)
    job = job_of(database, "job")
    assert (job.status, job.executor_id) == (JobStatus.WAITING_FOR_CHIP, None)
    assert holder_of(database, "chip") is None


def test_an_attempt_at_a_job_that_has_ended_is_neither_left_nor_lost(
    settings: Settings, database: Database
) -> None:
    attempt = begun(database, dispatched(database, "job"))
    run(settings, database, attempt, [Ended(status=JobStatus.FAILED, reason="it failed")])
    with database.writing() as session:
        assert not leave_attempt(session, attempt, "too late", now())
        lose_attempt(session, attempt, now())  # raises nothing: nobody drives the job
    assert job_of(database, "job").reason == "it failed"


@pytest.mark.parametrize(
    "fault", [OperationalError("SELECT", {}, ConnectionRefusedError()), ValueError("a fault")]
)
def test_an_error_of_the_service_itself_is_followed_by_another_attempt(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    runner = JobRunner(settings, database, EXECUTOR)
    monkeypatch.setattr(runner._children, "is_warm", lambda _: True)
    attempts = list[int]()

    def fail_once(attempt: Attempt) -> None:
        attempts.append(attempt.job.attempt)
        if len(attempts) == 1:
            raise fault
        runner._attempts._end(attempt, Ended(status=JobStatus.FAILED, reason="enough"))

    monkeypatch.setattr(runner._attempts, "run", fail_once)
    runner.run(DispatchTicket(dispatched(database, "job"), 1))
    assert attempts == [1, 2]
    assert job_of(database, "job").reason == "enough"


def test_a_runner_that_is_stopped_requeues_what_waits_for_the_fork_server(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner(settings, database, EXECUTOR)
    monkeypatch.setattr(runner._children, "is_warm", lambda _: False)
    runner.stop()
    with pytest.raises(ServiceStoppingError):
        runner.run(DispatchTicket(dispatched(database, "job"), 1))
    assert job_of(database, "job").called_at is None
    assert runner.dispatches() == []
    runner.wait()  # nothing is left that could write


def test_a_runner_that_is_stopped_without_a_database_leaves_the_job_dispatched(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner(settings, database, EXECUTOR)
    monkeypatch.setattr(runner._children, "is_warm", lambda _: False)
    ticket = DispatchTicket(dispatched(database, "job"), 1)
    runner.stop()

    def away() -> Any:
        raise OperationalError("UPDATE", {}, ConnectionRefusedError())

    with monkeypatch.context() as outage:
        outage.setattr(database, "writing", away)
        with pytest.raises(ServiceStoppingError):
            runner.run(ticket)
    assert job_of(database, "job").called_at is not None  # others find out by the silence
