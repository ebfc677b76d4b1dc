"""Which job is dispatched next: by priority, fairly between keys and chips, one job a chip."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from service.db.repositories.deadlines import DeadlineRepository
from service.db.repositories.dispatches import DispatchRepository, requeue
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.db.tables import Chip, ChipLease, Job
from service.states import JobStatus

pytestmark = pytest.mark.both_databases
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SILENCE = 15 * SECOND


def add_chips(session: Session, *names: str) -> None:
    for name in names:
        chip = Chip(
            id=name,
            name=name,
            backend="simulated",
            settings={},
            info={},
            health="unknown",
            created_at=NOON,
        )
        session.add(chip)
        session.flush()
        session.add(ChipLease(chip_id=name, token=0, expires_at=NOON - SECOND))


def add_job(session: Session, job_id: str, chip: str | None, **parts: object) -> Job:
    whole = {"priority": 5, "key_id": "key", "turn": 0} | parts
    job = Job(
        id=job_id,
        kind="evaluate",
        status="queued",
        request={},
        chip_id=chip,
        attempt=0,
        created_at=NOON,
        code_version="1",
        **whole,
    )
    JobRepository(session).add(job)
    return job


def call(session: Session, slots: int = 50, now: datetime = NOON) -> list[str]:
    """The jobs that are called, in their order."""
    ExecutorRepository(session).beat("executor", slots, now)
    return [dispatch.job_id for dispatch in DispatchRepository(session, SILENCE).dispatch_next(now)]


def end(session: Session, job_id: str) -> None:
    JobRepository(session).get(job_id).status = JobStatus.SUCCEEDED
    session.flush()


def one_by_one(session: Session, count: int) -> list[str]:
    """The order in which jobs go through when one runs at a time."""
    order = []
    for second in range(count):
        (first, *rest) = call(session, now=NOON + second * SECOND)
        order.append(first)
        end(session, first)
        for other in rest:  # as if there had been no room for them
            requeue(session, other, JobRepository(session).get(other).turn)
    return order


def test_the_most_urgent_job_is_called_first(database: Database) -> None:
    with database.writing() as session:
        add_job(session, "a", None)
        add_job(session, "b", None, priority=9)
        add_job(session, "c", None, priority=0)
        assert call(session) == ["c", "a", "b"]


def test_a_chip_has_one_job_called_at_a_time(database: Database) -> None:
    with database.writing() as session:
        add_chips(session, "one", "two")
        for job_id, chip in (("a", "one"), ("b", "one"), ("c", "two")):
            add_job(session, job_id, chip)
        assert call(session) == ["a", "c"]
        assert call(session) == []
        end(session, "a")
        assert call(session) == ["b"]


def test_no_more_are_called_than_there_is_room_for(database: Database) -> None:
    with database.writing() as session:
        for place in range(9):
            add_job(session, f"job {place}", None)
        assert len(call(session, slots=2)) == 4
        assert call(session, slots=2) == []
        assert len(call(session, slots=3)) == 2


def test_a_queue_is_put_in_order_for_several_jobs_at_a_time(database: Database) -> None:
    with database.writing() as session:
        for place in range(30):
            add_job(session, f"job {place:02}", None)
        first, second, *others = call(session, slots=8)
        assert len(others) == 14
        end(session, first)
        assert call(session, slots=8) == []  # the slots have enough in store
        end(session, second)
        assert call(session, slots=8) == ["job 16", "job 17"]


def test_executors_that_are_dead_make_no_room(database: Database) -> None:
    with database.writing() as session:
        for place in range(9):
            add_job(session, f"job {place}", None)
        ExecutorRepository(session).beat("dead", 4, NOON - 2 * SILENCE)
        assert len(DispatchRepository(session, SILENCE).dispatch_next(NOON)) == 2


def test_a_key_with_many_jobs_starves_no_other(database: Database) -> None:
    with database.writing() as session:
        for place in range(20):
            add_job(session, f"crowd {place:02}", None, key_id="crowd")
        add_job(session, "late 0", None, key_id="late")
        add_job(session, "late 1", None, key_id="late")
        assert call(session, slots=3) == [
            "crowd 00",
            "late 0",
            "crowd 01",
            "late 1",
            "crowd 02",
            "crowd 03",
        ]


def test_keys_take_turns_on_one_chip(database: Database) -> None:
    with database.writing() as session:
        add_chips(session, "one")
        for key in ("a", "b"):  # all of the first are older than all of the second
            for place in range(3):
                add_job(session, f"{key}{place}", "one", key_id=key)
        assert one_by_one(session, 6) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_jobs_of_the_service_itself_take_turns_with_those_of_keys(database: Database) -> None:
    with database.writing() as session:
        add_chips(session, "one")
        for name, key in (("a", "a"), ("own ", None)):
            for place in range(2):
                add_job(session, f"{name}{place}", "one", key_id=key)
        assert one_by_one(session, 4) == ["a0", "own 0", "a1", "own 1"]


def test_the_chip_that_waited_longest_goes_first(database: Database) -> None:
    with database.writing() as session:
        add_chips(session, "busy", "quiet")
        for place in range(3):
            add_job(session, f"a{place}", "busy")
        add_job(session, "b", "quiet")
        leases = LeaseRepository(session)
        token = leases.take("busy", "x", "before", SECOND, NOON)
        assert token is not None
        leases.release("busy", token)
        ExecutorRepository(session).beat("executor", 1, NOON)
        assert call(session)[0] == "b"


def test_what_cannot_start_is_not_called(database: Database) -> None:
    with database.writing() as session:
        add_chips(session, "leased")
        LeaseRepository(session).take("leased", "thief", "other", 10 * SECOND, NOON)
        add_job(session, "a", "leased")
        add_job(session, "b", None, not_before=NOON + 20 * SECOND)
        add_job(session, "c", None, held_until=NOON + 5 * SECOND)
        assert call(session) == []
        assert call(session, now=NOON + 6 * SECOND) == ["c"]
        assert call(session, now=NOON + 11 * SECOND) == ["a"]
        assert call(session, now=NOON + 21 * SECOND) == ["b"]


def test_a_turn_that_is_taken_back_is_followed_by_another(database: Database) -> None:
    with database.writing() as session:
        add_job(session, "a", None)
        dispatches = DispatchRepository(session, SILENCE)
        (first,) = dispatches.dispatch_next(NOON)
        requeue(session, "a", first.number)
        (second,) = dispatches.dispatch_next(NOON)
        assert (first.name, second.name) == ("a.1", "a.2")
        requeue(session, "a", first.number)  # too late: it is void
        assert dispatches.dispatch_next(NOON) == []


def test_a_new_job_is_called_at_once_unless_another_waits(database: Database) -> None:
    with database.writing() as session:
        dispatches = DispatchRepository(session, SILENCE)
        assert dispatches.dispatch_new([add_job(session, "a", None)], NOON) is not None
        add_job(session, "b", None, key_id="other")
        assert dispatches.dispatch_new([add_job(session, "c", None)], NOON) is None


def test_a_job_that_was_stopped_after_its_start_is_called_to_put_its_chip_back(
    database: Database,
) -> None:
    with database.writing() as session:
        job = add_job(session, "a", None, started_at=NOON)
        JobRepository(session).request_cancel(job.id, NOON)
        assert call(session) == ["a"]


def test_a_job_that_missed_its_deadline_expires(database: Database) -> None:
    with database.writing() as session:
        add_job(session, "late", None, queue_deadline=NOON + SECOND)
        add_job(session, "begun", None, queue_deadline=NOON + SECOND, started_at=NOON)
        add_job(session, "free", None)
        deadlines = DeadlineRepository(session)
        assert not deadlines.any_late(NOON)
        assert deadlines.expire(NOON) == []
        assert deadlines.any_late(NOON + 2 * SECOND)
        (expired,) = deadlines.expire(NOON + 2 * SECOND)
        assert (expired.id, expired.status) == ("late", "expired")
        assert "queue_deadline" in str(expired.reason)
        assert not deadlines.any_late(NOON + 2 * SECOND)
