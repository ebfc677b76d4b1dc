"""What grows old is forgotten; the audit trail never is."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update

from service.api.context import utc_now
from service.db.access_tables import PLANNER_KEYS, IdempotencyKey
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.retention import RetentionRepository
from service.db.session import Database
from service.db.tables import KEPT_CHECKPOINTS, TRANSIENT_EVENTS, Event, Job
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.upkeep.planner import ROUTE
from service.jobs.upkeep.retention import Retention, RetentionPeriods
from service.states import JobStatus
from tests.integration.jobs_lab import Lab, Service, until
from tests.world import World

DAY = timedelta(days=1)
KEEP = RetentionPeriods(progress=10 * DAY, logs=20 * DAY, checkpoints=5 * DAY, dispatches=2 * DAY)


class NoTurns:
    """Of an engine that keeps none."""

    def forget(self, before: datetime, most: int) -> int:
        del before, most
        return 0


class Past:
    """A world in which one job has ended and one goes on, both with progress, logs, checkpoints."""

    def __init__(self, world: World) -> None:
        self.world = world
        student = world.trained_student()
        self.retention = Retention(world.context.database, world.context.artifacts, NoTurns(), KEEP)
        self.ended, self.open = (
            self._job(str(world.register_chip(name)["id"]), student) for name in ("a", "b")
        )
        with world.context.database.writing() as session:
            job = JobRepository(session).get(self.ended)
            jobs, token = JobRepository(session), job.token or 0
            jobs.end(job.id, token, JobStatus.SUCCEEDED, None, {}, utc_now())
            LeaseRepository(session).release(str(job.chip_id), token)

    def _job(self, chip: str, student: str) -> str:
        job = str(self.world.calibrate(chip, student)["id"])
        token = self.world.drive(job)
        block = self.world.context.artifacts.put(f"checkpoint of {job}".encode())
        with self.world.context.database.writing() as session:
            jobs = JobRepository(session)
            for step in range(3):
                progress = {"phase": "calibrating", "step": step}
                jobs.write_progress(job, token, progress, {}, utc_now())
                EventRepository(session).append(
                    Subject(job), "job.log", str(step), {"line": "x"}, utc_now()
                )
            jobs.save_checkpoint(job, token, block, 2, None, utc_now())
        return job

    def pass_days(self, days: float) -> None:
        """As if everything had happened so much earlier."""
        then = utc_now() - days * DAY
        with self.world.context.database.writing() as session:
            session.execute(update(Event).values(created_at=then))
            session.execute(update(Job).where(Job.ended_at.is_not(None)).values(ended_at=then))

    def emitted(self, job: str) -> list[str]:
        with self.world.context.database.reading() as session:
            return [event.type for event in EventRepository(session).after(0, job_id=job)]

    def checkpoint(self, job: str) -> str | None:
        with self.world.context.database.reading() as session:
            return JobRepository(session).get(job).checkpoint_sha256


@pytest.fixture
def past(world: World) -> Past:
    return Past(world)


def test_nothing_is_forgotten_before_its_time(past: Past) -> None:
    before = past.world.stored()
    past.pass_days(4.9)
    assert past.retention.forget() == 0
    assert past.world.stored() == before


@pytest.mark.both_databases
def test_progress_goes_first_then_log_lines_and_the_trail_stays(past: Past) -> None:
    everything = past.emitted(past.open)
    past.pass_days(11)
    past.retention.forget()
    assert "job.progress" not in past.emitted(past.ended)
    assert past.emitted(past.ended).count("job.log") == 3
    past.pass_days(10_000)
    past.retention.forget()
    assert past.emitted(past.ended) == ["job.queued", "job.started", "job.ended"]
    assert past.emitted(past.open) == everything  # its job goes on


def test_a_checkpoint_is_dropped_with_its_block_once_its_job_has_ended(past: Past) -> None:
    store = past.world.context.artifacts
    kept, dropped = past.checkpoint(past.open), past.checkpoint(past.ended)
    assert kept is not None
    assert dropped is not None
    past.pass_days(6)
    assert past.retention.forget() > 0
    assert (past.checkpoint(past.open), past.checkpoint(past.ended)) == (kept, None)
    assert (store.has(kept), store.has(dropped)) == (True, False)
    past.retention.forget()
    assert past.retention.forget() == 0


def test_it_is_done_by_a_few_rows_at_a_time(past: Past) -> None:
    past.pass_days(11)
    now = utc_now()
    counts = []
    for _ in range(3):
        with past.world.context.database.writing() as session:
            counts.append(RetentionRepository(session, 2).forget_events("job.progress", now))
    assert counts == [2, 1, 0]


def test_the_planner_s_keys_pass_and_those_of_requests_do_not(past: Past) -> None:
    def remember(key: str, route: str, at: datetime) -> None:
        with past.world.context.database.writing() as session:
            session.add(
                IdempotencyKey(
                    key=key, route=route, body_sha256="0", resource_id="job", created_at=at
                )
            )

    remember("old", ROUTE, utc_now() - 3 * DAY)
    remember("new", ROUTE, utc_now())
    remember("asked", "POST /v1/jobs", utc_now() - 3 * DAY)
    past.retention.forget()
    with past.world.context.database.reading() as session:
        left = set(session.scalars(select(IdempotencyKey.key)))
    assert {"new", "asked"} <= left
    assert "old" not in left


@pytest.fixture
def queue(database: Database) -> Iterator[DbosQueue]:
    queue = DbosQueue(database, timedelta(seconds=15))
    queue.migrate()
    yield queue
    queue.close()


@pytest.mark.both_databases
def test_turns_that_are_over_are_forgotten_and_those_that_wait_stay(
    world: World, queue: DbosQueue
) -> None:
    targets = world.ready_targets()
    jobs = [world.submit({"kind": "train", "target_set_id": targets})["id"] for _ in range(2)]
    with world.context.database.writing() as session:
        queue.dispatch_next(session, utc_now())
    over, waiting = (f"{job_id}.1" for job_id in jobs)
    queue.cancel_queued(jobs[0])
    assert queue.open_dispatches([over, waiting]) == {waiting}
    database, artifacts = world.context.database, world.context.artifacts
    assert Retention(database, artifacts, queue, KEEP).forget() == 0
    now = Retention(database, artifacts, queue, KEEP._replace(dispatches=timedelta(0)))
    assert (now.forget(), now.forget()) == (1, 0)
    assert queue.open_dispatches([over, waiting]) == {waiting}


def test_of_a_job_that_ended_the_engine_keeps_nothing_for_ever(lab: Lab) -> None:
    service = Service(lab)
    job = lab.ended(service.evaluate(lab.chip("one")))
    rows = select(func.count()).select_from(text("workflow_status"))
    queue = DbosQueue(lab.database, timedelta(seconds=15))
    until(lambda: not queue.taken(), "its dispatch is over")
    service.stop()
    with lab.database.reading() as session:
        assert session.scalar(rows) == 1
    assert queue.forget(utc_now() + DAY, most=10) == 1
    with lab.database.reading() as session:
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            assert session.scalar(select(func.count()).select_from(text(table))) == 0, table
    queue.close()
    assert lab.job(job.id).status == JobStatus.SUCCEEDED


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("table", "what", "time", "index"),
    [
        ("events", TRANSIENT_EVENTS, "created_at", "ix_events_passing"),
        ("jobs", KEPT_CHECKPOINTS, "ended_at", "ix_jobs_left_checkpoints"),
        ("idempotency_keys", PLANNER_KEYS, "created_at", "ix_idempotency_keys_planned"),
    ],
)
def test_what_is_old_is_found_by_its_index(
    past: Past, table: str, what: str, time: str, index: str
) -> None:
    """A year of a fleet must not be looked through."""
    with past.world.context.database.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            plan = "EXPLAIN QUERY PLAN"
        else:
            session.execute(text("SET LOCAL enable_seqscan = off"))
            plan = "EXPLAIN"
        query = f"SELECT * FROM {table} WHERE {what} AND {time} < '2020-01-01' LIMIT 5"
        lines = [str(row) for row in session.execute(text(f"{plan} {query}"))]
    assert any(index in line for line in lines), lines
