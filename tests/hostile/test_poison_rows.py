"""One bad row never stops a loop: planner, queue, retention and sweep go on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from service.api.context import utc_now
from service.damage_errors import PolicyDamagedError
from service.db.isolation import Isolated
from service.db.repositories.deadlines import DeadlineRepository
from service.db.repositories.dispatches import DispatchRepository
from service.db.repositories.due_times import later
from service.db.repositories.policies import NOT_PLANNED, UNREADABLE
from service.db.tables import Chip, Event, Job
from service.db.upkeep_tables import Policy
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.submit import Submitter
from service.jobs.upkeep import planner
from service.jobs.upkeep.retention import OrphanSweep, Retention, RetentionPeriods
from service.states import JobStatus
from tests.hostile.poisoned_fleet import PoisonedFleet
from tests.integration.test_retention import NoTurns
from tests.world import World

HOUR = timedelta(hours=1)


@pytest.fixture
def policies(world: World) -> PoisonedFleet:
    return PoisonedFleet(world, Policy)


@pytest.fixture
def chips(world: World) -> PoisonedFleet:
    return PoisonedFleet(world, Chip)


@pytest.fixture
def jobs(world: World) -> PoisonedFleet:
    return PoisonedFleet(world, Job)


@contextmanager
def unguarded(*_: object, **__: object) -> Iterator[Isolated]:
    """In place of the isolation: an error of one row is raised."""
    yield Isolated()


@pytest.mark.both_databases
def test_the_planner_plans_for_all_other_chips(policies: PoisonedFleet) -> None:
    columns = {one.column for one in policies.poisons}
    assert {"settings", "probe_every_s", "fixed_times", "pause_s", "calibrated_at"} <= columns
    assert set(policies.good) <= policies.plan_for_all()
    noted = {chip for chip, note in policies.notes().items() if note == UNREADABLE}
    assert len(noted) > 5
    assert not noted & set(policies.good)


def test_without_isolation_the_planner_stops(
    policies: PoisonedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "isolated", unguarded)
    with pytest.raises(PolicyDamagedError):
        policies.plan_for_all()


def test_an_error_that_is_not_of_the_policy_is_noted_as_such(
    policies: PoisonedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a fault of the service")

    monkeypatch.setattr(Submitter, "submit", fail)
    assert not policies.plan_for_all()
    notes = policies.notes()
    assert {notes[chip] for chip in policies.good} == {NOT_PLANNED}
    assert notes[policies.poison("settings", "'{'")] == UNREADABLE  # the control


def test_the_planner_plans_beside_chips_that_cannot_be_read(chips: PoisonedFleet) -> None:
    assert set(chips.good) <= chips.plan_for_all()


def test_a_policy_that_cannot_be_read_is_looked_at_again_after_an_hour_and_can_be_set_anew(
    policies: PoisonedFleet,
) -> None:
    policies.plan_for_all()
    broken = policies.poison("settings", "'{'")
    with policies.world.context.database.reading() as session:
        query = text("SELECT due_at, note FROM policies WHERE chip_id = :id")
        row = session.execute(query, {"id": broken}).one()
    due_at = datetime.fromisoformat(row.due_at).replace(tzinfo=UTC)
    assert row.note == UNREADABLE
    assert utc_now() + 0.9 * HOUR < due_at < utc_now() + HOUR
    policies.fleet.rule(broken, probe_every_s=60.0)
    assert policies.fleet.policy(broken)["note"] is None


def test_spans_of_many_years_in_a_row_stay_within_the_calendar() -> None:
    at = utc_now()
    for _ in range(200):
        at = later(at, 1e308)
    assert later(at, float("inf")).year < 9999
    assert later(utc_now(), 60.0) - utc_now() < timedelta(seconds=61)


def test_the_end_of_a_job_is_recorded_whatever_the_policy_of_its_chip_holds(
    policies: PoisonedFleet,
) -> None:
    broken, world = policies.poison("fixed_times", "'7'"), policies.world
    job = world.submit(
        {"kind": "evaluate", "chip_id": broken, "student_id": policies.fleet.student}
    )
    with capture_logs():
        policies.fleet.finish(broken, JobStatus.FAILED)
    assert world.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "failed"


@pytest.mark.both_databases
def test_jobs_are_dispatched_and_expire_beside_poisoned_ones(jobs: PoisonedFleet) -> None:
    world, now = jobs.world, utc_now()
    good = [world.calibrate(chip, jobs.fleet.student)["id"] for chip in jobs.good]
    unreadable = [one.id for one in jobs.poisons if one.column in ("result", "request", "spent")]
    late = {"queue_deadline": now - HOUR, "status": "queued", "started_at": None}
    with world.context.database.writing() as session:
        session.execute(
            update(Job)
            .where(Job.id.in_([good[1], *unreadable]))
            .values(late)
            .execution_options(synchronize_session=False)
        )
    with world.context.database.writing() as session, capture_logs():
        DeadlineRepository(session).expire(now)
        dispatched = DispatchRepository(session, HOUR).dispatch_next(now)
    assert good[0] in {one.job_id for one in dispatched}
    assert world.client.get(f"/v1/jobs/{good[1]}").json()["status"] == "expired"


def test_a_job_that_the_engine_refuses_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, queue = world.trained_student(), DbosQueue(world.context.database, HOUR)
    chips = [world.register_chip(name)["id"] for name in "ab"]
    bad, good = (world.calibrate(chip, student)["id"] for chip in chips)
    pushed: list[str] = []

    def push(_: object, dispatch: Any) -> None:
        if dispatch.job_id == bad:
            raise TypeError("priority")
        pushed.append(dispatch.job_id)

    monkeypatch.setattr(queue, "_push", push)
    with world.context.database.writing() as session:
        queue.dispatch_next(session, utc_now())
    with world.context.database.reading() as session:
        held, waiting = (session.get_one(Job, id) for id in (bad, good))
        assert held.called_at is None
        assert held.held_until is not None
        assert waiting.called_at is not None
    assert pushed == [good]
    queue.close()


def test_retention_and_the_sweep_go_on(jobs: PoisonedFleet) -> None:
    context, then = jobs.world.context, utc_now() - timedelta(days=30)
    block = context.artifacts.put(b"what a damaged summary names")
    orphan = context.artifacts.put(b"what nothing names")
    with context.database.writing() as session:
        job = session.scalar(select(Job.id).where(Job.chip_id == jobs.good[0]))
        about = {"subject": job, "job_id": job, "created_at": then}
        session.add(Event(**about, type="job.log", key="old", data={}))
        names_it = text("UPDATE target_sets SET summary = :text")
        session.execute(names_it, {"text": f'["{block}"]'})
    assert retention_of(jobs.world).forget() >= 1
    for one in (block, orphan):
        os.utime(context.settings.artifacts_dir / one[:2] / one, (0, 0))
    OrphanSweep(context.database, context.artifacts).remove_orphans()
    assert context.artifacts.has(block)
    assert not context.artifacts.has(orphan)  # the control: the sweep did its work


def test_retention_of_one_kind_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    retention = retention_of(world)

    def fail(*_: object) -> int:
        raise ValueError("a fault")

    monkeypatch.setattr(retention, "_forget_events", fail)
    monkeypatch.setattr(retention, "_forget_checkpoints", lambda _: 3)
    with capture_logs() as logs:
        assert retention.forget() == 3
    assert [line["what"] for line in logs] == ["progress", "log lines"]


def retention_of(world: World) -> Retention:
    """A retention that keeps everything for a day."""
    day, context = timedelta(days=1), world.context
    periods = RetentionPeriods(progress=day, logs=day, checkpoints=day, dispatches=day)
    return Retention(context.database, context.artifacts, NoTurns(), periods)
