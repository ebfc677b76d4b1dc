"""Dispatches of jobs in the engine: enqueued with the job, run once, and never lost."""

import time
from datetime import timedelta
from typing import Any

import dbos._queue as dbos_queue_loop
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.jobs import JobRepository
from service.db.session import Database
from service.jobs.queue import stalled
from service.jobs.queue.dbos_engine import ExecutingEngine, poll_interval
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.queue.stalled import LostDispatches, UnstartedDispatches
from service.settings import Settings
from service.states import JobStatus
from tests.integration.jobs_lab import Lab
from tests.integration.lab_seed import now
from tests.integration.started_jobs import a_job, queued, started

SECOND = timedelta(seconds=1)


def test_row_and_enqueue_are_one_transaction(lab: Lab) -> None:
    database = Database(lab.settings.database)
    engine = ExecutingEngine(lab.settings, database)
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


@pytest.mark.parametrize(
    ("url", "usual"),
    [("sqlite:///none.sqlite", 1.0), ("postgresql+psycopg://nobody@nowhere/none", 0.5)],
)
def test_the_interval_between_looks_is_the_one_that_was_set(url: str, usual: float) -> None:
    database = Database(url)  # it is not asked
    assert poll_interval(Settings(), database) == usual
    assert poll_interval(Settings(queue_poll_s=0.2), database) == 0.2
    database.close()


def test_a_dispatch_that_the_engine_has_lost_is_requeued(lab: Lab) -> None:
    queue = DbosQueue(lab.database, SECOND)
    queue.migrate()
    kept = a_job(lab, lab.chip("kept"))
    with lab.database.writing() as session:
        JobRepository(session).add(kept)
        queue.enqueue(session, [kept])
    lost, running = (queued(lab, lab.chip(name)) for name in ("lost", "running"))
    started(lab, running, "gone", ttl=timedelta(0))
    with lab.database.writing() as session:
        for job_id in (kept.id, lost, running):
            JobRepository(session).get(job_id).called_at = now() - timedelta(hours=1)
    LostDispatches(lab.database, queue, SECOND).requeue()
    found = [lab.job(job_id) for job_id in (kept.id, lost, running)]
    assert [job.called_at is None for job in found] == [False, True, True]
    assert found[2].status == JobStatus.WAITING_FOR_CHIP
    queue.close()


def test_a_dispatch_that_was_taken_and_never_begun_is_requeued(lab: Lab) -> None:
    queue = DbosQueue(lab.database, 60 * SECOND)
    queue.migrate()
    with lab.database.writing() as session:
        ExecutorRepository(session).beat("me", 4, now())
    names = {}
    for name in ("stalled", "begun", "elsewhere", "queued"):
        job = a_job(lab, lab.chip(name))
        with lab.database.writing() as session:
            JobRepository(session).add(job)
            queue.dispatch_next(session, now())
        names[name] = f"{job.id}.1"
    for name, executor in (("stalled", "me"), ("begun", "me"), ("elsewhere", "another")):
        claim(lab, names[name], executor)
    unstarted = UnstartedDispatches(queue, "me", lambda: [names["begun"]])
    unstarted.requeue()
    assert {dispatch.name for dispatch in queue.taken()} == {
        names[name] for name in ("stalled", "begun", "elsewhere")
    }, "it may just be about to begin"
    unstarted.requeue()
    assert {dispatch.name for dispatch in queue.taken()} == {names["begun"], names["elsewhere"]}
    assert queue.open_dispatches(list(names.values())) == set(names.values())
    queue.close()


def test_a_dispatch_that_the_engine_dropped_runs_after_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away just when the engine wants to begin."""
    dropped = list[str]()
    begin = dbos_queue_loop.execute_dequeued_workflow  # type: ignore[attr-defined]

    def drop_first(dbos: Any, status: Any, owner: str) -> None:
        if not dropped:
            dropped.append(status["workflow_uuid"])
            raise OperationalError("SELECT", {}, ConnectionRefusedError())
        begin(dbos, status, owner)

    monkeypatch.setattr(dbos_queue_loop, "execute_dequeued_workflow", drop_first)
    monkeypatch.setattr(stalled, "UNSTARTED_INTERVAL", 0.5)
    database = Database(lab.settings.database)
    engine = ExecutingEngine(lab.settings, database)
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
    """As the engine does when it takes a dispatch from the queue."""
    with lab.database.writing() as session:
        session.execute(
            text(
                "UPDATE workflow_status SET status = 'PENDING', executor_id = :executor "
                "WHERE workflow_uuid = :name"
            ),
            {"name": name, "executor": executor},
        )


def enqueued(database: Database, engine: ExecutingEngine, lab: Lab, *, fails: bool) -> str:
    job = a_job(lab, lab.chip(f"chip {fails}"))
    with database.writing() as session:
        JobRepository(session).add(job)
        engine.enqueue(session, [job])
        if fails:
            raise InterruptedError
    return job.id
