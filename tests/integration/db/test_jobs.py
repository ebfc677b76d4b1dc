"""A superseded attempt writes nothing, and repeated writes have no effect."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ltl_core.errors import LeaseLostError
from service.db.repositories.chips import ChipRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.students import StudentRepository, TrainedStudent
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.weights import Publication, WeightRepository
from service.db.session import Database
from service.db.tables import Chip, Event, Job, Student, TargetSet, Teacher, WeightVersion
from service.errors import AttemptSupersededError, JobNotFoundError, JobStateError
from service.states import ChipHealth, JobStatus, TargetSetState

pytestmark = pytest.mark.both_databases
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=10)


def add_job(session: Session, job_id: str, kind: str = "calibrate", **parts: str | None) -> None:
    job = Job(
        id=job_id,
        kind=kind,
        status="queued",
        request={},
        priority=5,
        attempt=0,
        created_at=NOON,
        code_version="1",
        **parts,
    )
    JobRepository(session).add(job)


@pytest.fixture
def laid(database: Database) -> Database:
    """Store a teacher, a target set, a student, a chip, and jobs with and without the chip."""
    with database.writing() as session:
        session.add(Teacher(id="t", name="t", network={}, weights_sha256="0", created_at=NOON))
        session.flush()
        session.add(
            TargetSet(
                id="ts",
                name="ts",
                teacher_id="t",
                state="ready",
                chunks=1,
                percentile=99.0,
                created_at=NOON,
            )
        )
        session.flush()
        add_job(session, "train", "train", teacher_id="t", target_set_id="ts")
        session.add(
            Student(
                id="s",
                teacher_id="t",
                target_set_id="ts",
                job_id="train",
                rule="ltl-offline",
                accuracy={},
                sha256="0",
                created_at=NOON,
            )
        )
        chip = Chip(
            id="chip",
            name="chip",
            backend="simulated",
            settings={},
            info={},
            health="unknown",
            created_at=NOON,
        )
        ChipRepository(session).add(chip)
        add_job(session, "tune", chip_id="chip", student_id="s", target_set_id="ts")
        add_job(session, "collect", "collect", teacher_id="t", target_set_id="ts")
    return database


def drive(session: Session, job_id: str = "tune", now: datetime = NOON) -> int:
    token = LeaseRepository(session).take("chip", "worker", job_id, TTL, now)
    assert token is not None
    JobRepository(session).start(job_id, token, "worker", now)
    return token


def publication(token: int, block: bytes = b"codes") -> Publication:
    return Publication("tune", token, block, 1.0, "ltl-online", "window", {"after": 0.9}, None, "1")


WRITES: dict[str, Callable[[Session, int], object]] = {
    "progress": lambda s, t: JobRepository(s).write_progress("tune", t, {"step": 1}, {}, NOON),
    "checkpoint": lambda s, t: JobRepository(s).save_checkpoint("tune", t, "1", 1, "2", NOON),
    "chip state": lambda s, t: JobRepository(s).save_chip_state("tune", t, "3", NOON),
    "end": lambda s, t: JobRepository(s).end("tune", t, JobStatus.FAILED, "", None, NOON),
    "publish": lambda s, t: WeightRepository(s).publish(publication(t), NOON),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_the_attempt_that_drives_a_job_can_write(
    laid: Database, write: Callable[[Session, int], object]
) -> None:
    with laid.writing() as session:
        write(session, drive(session))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_superseded_attempt_writes_nothing(
    laid: Database, write: Callable[[Session, int], object]
) -> None:
    with laid.writing() as session:
        old = drive(session)
    with laid.writing() as session:
        drive(session, now=NOON + 2 * TTL)  # the lease had run out
    with pytest.raises(LeaseLostError), laid.writing() as session:
        write(session, old)
    with laid.reading() as session:
        job = JobRepository(session).get("tune")
        assert (job.status, job.progress, job.checkpoint_step) == ("running", None, None)
        assert ChipRepository(session).get("chip").state_sha256 is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_without_the_lease_nothing_is_written(
    laid: Database, write: Callable[[Session, int], object]
) -> None:
    with laid.writing() as session:
        token = drive(session)
        LeaseRepository(session).release("chip", token)
    with pytest.raises(AttemptSupersededError), laid.writing() as session:
        write(session, token)


def test_a_job_without_a_chip_is_fenced_by_its_attempt(laid: Database) -> None:
    with laid.writing() as session:
        jobs = JobRepository(session)
        assert jobs.start("train", 1, "worker", NOON).attempt == 1
        assert jobs.start("train", 2, "worker", NOON).attempt == 2
    for token in (1, 3):
        with pytest.raises(AttemptSupersededError), laid.writing() as session:
            JobRepository(session).write_progress("train", token, {}, {}, NOON)
    with pytest.raises(AttemptSupersededError), laid.writing() as session:
        JobRepository(session).start("train", 2, "ghost", NOON)


def test_a_job_ends_once(laid: Database) -> None:
    with laid.writing() as session:
        token = drive(session)
        JobRepository(session).end("tune", token, JobStatus.SUCCEEDED, None, {"a": 1}, NOON)
    with pytest.raises(AttemptSupersededError), laid.writing() as session:
        JobRepository(session).end("tune", token, JobStatus.FAILED, "no", None, NOON)
    with pytest.raises(JobStateError), laid.writing() as session:
        JobRepository(session).start("tune", token + 1, "worker", NOON)
    with laid.reading() as session:
        assert JobRepository(session).get("tune").status == "succeeded"


def test_a_job_ends_only_in_a_terminal_status(laid: Database) -> None:
    with pytest.raises(JobStateError), laid.writing() as session:
        JobRepository(session).end("tune", drive(session), JobStatus.RUNNING, None, None, NOON)


def test_an_unknown_job_is_not_found(laid: Database) -> None:
    with pytest.raises(JobNotFoundError), laid.writing() as session:
        JobRepository(session).write_progress("nowhere", 1, {}, {}, NOON)


def test_weights_are_published_once_a_job_and_numbered_by_chip(laid: Database) -> None:
    with laid.writing() as session:
        token = drive(session)
        first = WeightRepository(session).publish(publication(token), NOON)
        again = WeightRepository(session).publish(publication(token, b"other"), NOON)
        assert (first.id, first.version) == (again.id, 1)
        LeaseRepository(session).release("chip", token)
    with laid.writing() as session:
        add_job(session, "tune again", chip_id="chip", student_id="s", target_set_id="ts")
        token = drive(session, "tune again")
        second = WeightRepository(session).publish(
            publication(token)._replace(job_id="tune again"), NOON
        )
        assert second.version == 2
    with laid.reading() as session:
        assert session.scalar(select(func.count()).select_from(WeightVersion)) == 2
        assert ChipRepository(session).get("chip").version_in_force == 2
        emitted = session.scalars(select(Event).where(Event.type == "weights.published")).all()
        assert [event.data["version"] for event in emitted] == [1, 2]


def test_a_student_is_published_once_a_job(laid: Database) -> None:
    with laid.writing() as session:
        add_job(session, "train again", "train", teacher_id="t", target_set_id="ts")
        JobRepository(session).start("train again", 1, "worker", NOON)
        for sha256 in ("1", "2"):
            trained = TrainedStudent(sha256, "ltl-offline", "subtract", {})
            student = StudentRepository(session).publish("train again", 1, trained, NOON)
            assert (student.sha256, student.reset) == ("1", "subtract")
        assert JobRepository(session).get("train again").student_id == student.id


def test_an_attempt_after_a_crash_reports_no_step_twice(laid: Database) -> None:
    with laid.writing() as session:
        for attempt, steps in ((1, (1, 2)), (2, (2, 3))):
            jobs = JobRepository(session)
            jobs.start("train", attempt, "worker", NOON)
            for step in steps:
                progress = {"phase": "training", "step": step}
                jobs.write_progress("train", attempt, progress, {}, NOON)
        emitted = EventRepository(session).after(0, job_id="train", types=["job.progress"])
        assert [event.data["progress"]["step"] for event in emitted] == [1, 2, 3]


def test_a_failed_collection_fails_its_target_set(laid: Database) -> None:
    with laid.writing() as session:
        TargetSetRepository(session).set_state("ts", TargetSetState.COLLECTING)
        JobRepository(session).start("collect", 1, "worker", NOON)
        JobRepository(session).end("collect", 1, JobStatus.FAILED, "no memory", None, NOON)
        target_set = TargetSetRepository(session).get("ts")
        assert (target_set.state, target_set.reason) == ("failed", "no memory")


def test_the_version_in_force_at_the_start_is_kept(laid: Database) -> None:
    with laid.writing() as session:
        token = drive(session)
        assert JobRepository(session).get("tune").weights_in_force is None
        WeightRepository(session).publish(publication(token), NOON)
        LeaseRepository(session).release("chip", token)
        drive(session)  # a second attempt, after it has published
        assert JobRepository(session).get("tune").weights_in_force is None


def test_a_retired_chip_stays_retired(laid: Database) -> None:
    with laid.writing() as session:
        chips = ChipRepository(session)
        chips.set_health("chip", ChipHealth.BAD, "tune", NOON)
        assert chips.get("chip").health == "bad"
        chips.retire("chip", NOON)
        chips.set_health("chip", ChipHealth.GOOD, "tune", NOON)
        assert chips.get("chip").health == "retired"


def test_health_writes_an_event_only_when_it_changes(laid: Database) -> None:
    with laid.writing() as session:
        chips = ChipRepository(session)
        chips.record_accuracy("chip", 0.5)
        chips.set_health("chip", ChipHealth.BAD, "tune", NOON)
        chips.set_health("chip", ChipHealth.BAD, "train", NOON)
        (emitted,) = EventRepository(session).after(0, types=["chip.health_changed"])
    assert emitted.data == {"from": "unknown", "to": "bad", "accuracy": 0.5, "drift_score": None}
    assert (emitted.job_id, emitted.chip_id) == ("tune", "chip")
