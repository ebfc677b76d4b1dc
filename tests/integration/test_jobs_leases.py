"""The lease alone, hammered by threads with databases of their own; the engine's transaction."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import dbos._queue as dbos_queue_loop
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.db.tables import Job
from service.errors import AttemptSupersededError
from service.jobs import stranded_turns
from service.jobs.dbos_engine import Executor
from service.jobs.dbos_queue import DbosQueue
from service.jobs.errors import JobTakenOverError
from service.jobs.lost_turns import LostTurns
from service.jobs.seat import Claim, Holder, Refusal, Seat, leave_seat, lose_seat, take_seat
from service.jobs.stranded_turns import StrandedTurns
from service.states import JobStatus
from tests.integration.jobs_lab import Lab, new_id, now

SECOND = timedelta(seconds=1)


class Turn(NamedTuple):
    token: int
    began: float
    ended: float


def test_hammered_by_many_a_lease_has_one_holder_at_a_time(lab: Lab) -> None:
    chip, turns = lab.chip("hammered"), list[Turn]()

    def hammer(name: str) -> None:
        database = Database(lab.settings.database)
        rng = random.Random(name)
        mine: list[Turn] = []
        for _ in range(2000):  # a lease that is never given back must not hang the tests
            turn = drive_once(database, chip, name, rng.random() * 0.004)
            mine.extend([turn] if turn else [])
            if len(mine) == 4:
                break
        turns.extend(mine)
        database.close()

    together([lambda name=f"w{n}": hammer(name) for n in range(8)])  # type: ignore[misc]
    turns.sort()
    assert len(turns) == 8 * 4
    assert all(earlier.ended <= later.began for earlier, later in pairwise(turns))
    assert [turn.token for turn in turns] == list(range(1, len(turns) + 1))


def test_the_trace_would_show_two_holders(lab: Lab) -> None:
    """The control: a lease that expires while it is held lets another in."""
    chip, turns = lab.chip("too short"), list[Turn]()

    def hold(name: str) -> None:
        database = Database(lab.settings.database)
        for _ in range(5):
            turn = drive_once(database, chip, name, 0.05, ttl=timedelta(milliseconds=5))
            turns.extend([turn] if turn else [])
        database.close()

    together([lambda name=f"w{n}": hold(name) for n in range(4)])  # type: ignore[misc]
    turns.sort()
    assert any(later.began < earlier.ended for earlier, later in pairwise(turns))


def test_whoever_lost_the_lease_writes_nothing(lab: Lab) -> None:
    chip = lab.chip("fenced")
    job = queued(lab, chip)
    seat = seated(lab, job, "slow", ttl=timedelta(0))
    second = seated(lab, job, "quick", ttl=60 * SECOND)
    assert second.token == seat.token + 1
    with lab.database.writing() as session, pytest.raises(AttemptSupersededError):
        JobRepository(session).write_progress(job, seat.token, {"phase": "x"}, {}, now())
    with lab.database.writing() as session, pytest.raises(AttemptSupersededError):
        JobRepository(session).end(job, seat.token, JobStatus.SUCCEEDED, None, {}, now())
    with lab.database.writing() as session:
        assert not leave_seat(session, seat, "too late", now())
        assert not LeaseRepository(session).renew(chip, seat.token, SECOND, now())
        JobRepository(session).write_progress(job, second.token, {"phase": "x"}, {}, now())
    assert lab.lease(chip).holder == "quick"
    assert lab.job(job).status == JobStatus.RUNNING


def test_a_job_waits_while_its_chip_is_held(lab: Lab) -> None:
    chip = lab.chip("held")
    seated(lab, queued(lab, chip), "first", ttl=60 * SECOND)
    waiting = queued(lab, chip)
    with lab.database.writing() as session:
        holder = Holder("second", SECOND)
        assert take_seat(session, Claim(waiting, 1), holder, now()) is Refusal.LATER
    assert lab.job(waiting).status == JobStatus.WAITING_FOR_CHIP
    assert lab.job(waiting).called_at is None


def test_a_job_whose_workers_die_is_given_up_after_three(lab: Lab) -> None:
    chip = lab.chip("deadly")
    job = queued(lab, chip)
    for attempt in range(1, 4):
        seat = seated(lab, job, f"worker {attempt}", ttl=timedelta(0))
        assert (seat.job.attempt, seat.token) == (attempt, attempt)
    with lab.database.writing() as session:
        holder = Holder("worker 4", SECOND)
        assert take_seat(session, Claim(job, 1), holder, now()) is Refusal.OVER
    done = lab.job(job)
    assert (done.status, done.attempt) == (JobStatus.FAILED, 3)
    assert "died 3 times" in (done.reason or "")
    assert len(lab.events(job, "job.interrupted")) == 3
    assert lab.lease(chip).holder is None


def test_a_job_that_is_driven_elsewhere_is_let_go(lab: Lab) -> None:
    job = queued(lab, lab.chip("taken over"))
    frozen = seated(lab, job, "frozen", ttl=timedelta(0))
    seated(lab, job, "quick", ttl=60 * SECOND)
    with pytest.raises(JobTakenOverError), lab.database.writing() as session:
        lose_seat(session, frozen, now())
    assert lab.job(job).executor_id == "quick"
    assert lab.events(job, "lease.lost") == []


def test_row_and_enqueue_are_one_transaction(lab: Lab) -> None:
    database = Database(lab.settings.database)
    engine = Executor(lab.settings, database)
    engine.launch()
    try:
        kept = enqueued(database, engine, lab, fails=False)
        with pytest.raises(InterruptedError):
            enqueued(database, engine, lab, fails=True)
        with database.reading() as session:
            names = session.scalars(text("SELECT workflow_uuid FROM workflow_status")).all()
            jobs = session.scalars(text("SELECT id FROM jobs WHERE kind = 'evaluate'")).all()
        assert names == [f"{kept}.1"]
        assert jobs == [kept]
    finally:
        engine.stop()
        database.close()


def test_a_turn_that_the_engine_has_lost_is_given_back(lab: Lab) -> None:
    queue = DbosQueue(lab.database, SECOND)
    queue.migrate()
    kept = a_job(lab, lab.chip("kept"))
    with lab.database.writing() as session:
        JobRepository(session).add(kept)
        queue.enqueue(session, kept)
    lost, running = (queued(lab, lab.chip(name)) for name in ("lost", "running"))
    seated(lab, running, "gone", ttl=timedelta(0))
    with lab.database.writing() as session:
        for job_id in (kept.id, lost, running):
            JobRepository(session).get(job_id).called_at = now() - timedelta(hours=1)
    LostTurns(lab.database, queue, SECOND).give_back()
    found = [lab.job(job_id) for job_id in (kept.id, lost, running)]
    assert [job.called_at is None for job in found] == [False, True, True]
    assert found[2].status == JobStatus.WAITING_FOR_CHIP
    queue.close()


def test_a_turn_that_was_taken_and_never_begun_goes_back_into_the_queue(lab: Lab) -> None:
    queue = DbosQueue(lab.database, 60 * SECOND)
    queue.migrate()
    with lab.database.writing() as session:
        ExecutorRepository(session).beat("me", 4, now())
    names = {}
    for name in ("stranded", "begun", "elsewhere", "queued"):
        job = a_job(lab, lab.chip(name))
        with lab.database.writing() as session:
            JobRepository(session).add(job)
            queue.call_next(session, now())
        names[name] = f"{job.id}.1"
    for name, executor in (("stranded", "me"), ("begun", "me"), ("elsewhere", "another")):
        claim(lab, names[name], executor)
    stranded = StrandedTurns(queue, "me", lambda: [names["begun"]])
    stranded.give_back()
    assert {turn.name for turn in queue.claimed()} == {
        names[name] for name in ("stranded", "begun", "elsewhere")
    }, "it may just be about to begin"
    stranded.give_back()
    assert {turn.name for turn in queue.claimed()} == {names["begun"], names["elsewhere"]}
    assert queue.open_turns(list(names.values())) == set(names.values())
    queue.close()


def test_a_turn_that_the_engine_dropped_is_run_after_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away just when the engine wants to begin."""
    dropped = list[str]()
    begin = dbos_queue_loop.execute_dequeued_workflow

    def drop_first(dbos: Any, status: Any, owner: str) -> None:
        if not dropped:
            dropped.append(status["workflow_uuid"])
            raise OperationalError("SELECT", {}, ConnectionRefusedError())
        begin(dbos, status, owner)

    monkeypatch.setattr(dbos_queue_loop, "execute_dequeued_workflow", drop_first)
    monkeypatch.setattr(stranded_turns, "_INTERVAL", 0.5)
    database = Database(lab.settings.database)
    engine = Executor(lab.settings, database)
    engine.launch()
    try:
        job = enqueued(database, engine, lab, fails=False)
        deadline = time.monotonic() + 60
        while lab.job(job).ended_at is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert dropped == [f"{job}.1"]
        assert lab.job(job).ended_at is not None
    finally:
        engine.stop()
        database.close()


def claim(lab: Lab, name: str, executor: str) -> None:
    """As the engine does when it takes a turn from the queue."""
    schema = "" if lab.database.is_sqlite else "dbos."
    with lab.database.writing() as session:
        session.execute(
            text(
                f"UPDATE {schema}workflow_status SET status = 'PENDING', executor_id = :executor "
                "WHERE workflow_uuid = :name"
            ),
            {"name": name, "executor": executor},
        )


def drive_once(
    database: Database, chip: str, name: str, held: float, ttl: timedelta = 60 * SECOND
) -> Turn | None:
    with database.writing() as session:
        token = LeaseRepository(session).take(chip, name, new_id(), ttl, now())
    if token is None:
        time.sleep(0.002)
        return None
    began = time.monotonic()
    time.sleep(held)
    ended = time.monotonic()
    with database.writing() as session:
        LeaseRepository(session).release(chip, token)
    return Turn(token, began, ended)


def together(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def a_job(lab: Lab, chip: str) -> Job:
    return Job(
        id=new_id(),
        kind="evaluate",
        status=JobStatus.QUEUED,
        request={},
        target_set_id=lab.seeded.target_set_id,
        student_id=lab.seeded.student_id,
        chip_id=chip,
        priority=5,
        turn=0,
        attempt=0,
        created_at=now(),
        code_version="test",
    )


def queued(lab: Lab, chip: str) -> str:
    """Called once, as if an executor had it."""
    job = a_job(lab, chip)
    job.turn, job.called_at = 1, now()
    with lab.database.writing() as session:
        JobRepository(session).add(job)
    return job.id


def seated(lab: Lab, job_id: str, executor: str, ttl: timedelta) -> Seat:
    with lab.database.writing() as session:
        seat = take_seat(session, Claim(job_id, 1), Holder(executor, ttl), now())
    assert isinstance(seat, Seat)
    return seat


def enqueued(database: Database, engine: Executor, lab: Lab, *, fails: bool) -> str:
    job = a_job(lab, lab.chip(f"chip {fails}"))
    with database.writing() as session:
        JobRepository(session).add(job)
        engine.enqueue(session, job)
        if fails:
            raise InterruptedError
    return job.id
