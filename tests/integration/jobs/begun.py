"""Jobs that have begun, and a child process that says what the test tells it to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from service.db.repositories.jobs import JobRepository
from service.db.session import Database
from service.db.tables import Chip, ChipLease, Job
from service.jobs.attempts.attempt import Attempt, DispatchTicket, Holder, begin_attempt
from service.jobs.messages import (
    Cancel,
    Checkpointed,
    Ended,
    JobDescription,
    Lease,
    Logged,
    Pause,
    Progressed,
)

EXECUTOR = "me"
TTL = timedelta(seconds=60)
Script = list[Checkpointed | Ended | Logged | Progressed | type[EOFError]]


def now() -> datetime:
    return datetime.now(UTC)


def dispatched(database: Database, job_id: str, chip: str | None = None, **parts: Any) -> str:
    """A job that the engine was handed once, with a chip of its own if one is named."""
    whole = {
        "kind": "evaluate" if chip else "train",
        "request": {},
        "turn": 1,
        "called_at": now(),
        "student_id": None,
    } | parts
    with database.writing() as session:
        if chip is not None:
            session.add(
                Chip(
                    id=chip,
                    name=chip,
                    backend="simulated",
                    settings={"preset": "ideal", "seed": 1},
                    info={},
                    health="unknown",
                    created_at=now(),
                )
            )
            session.flush()
            session.add(ChipLease(chip_id=chip, token=0, expires_at=now() - TTL))
        job = Job(
            id=job_id,
            status="queued",
            chip_id=chip,
            priority=5,
            attempt=0,
            created_at=now(),
            code_version="test",
            **whole,
        )
        JobRepository(session).add(job)
    return job_id


def begun(database: Database, job_id: str, ttl: timedelta = TTL) -> Attempt:
    """The attempt of an executor that took the job's dispatch."""
    with database.writing() as session:
        ticket = DispatchTicket(job_id, 1)
        attempt = begin_attempt(session, ticket, Holder(EXECUTOR, ttl), now())
    assert isinstance(attempt, Attempt)
    return attempt


def job_of(database: Database, job_id: str) -> Job:
    with database.reading() as session:
        return JobRepository(session).get(job_id)


class FakeChild:
    """A child process that follows a script, and remembers what it was sent."""

    def __init__(self, script: Script) -> None:
        self._script = list(script)
        self.sent: list[JobDescription | Lease | Cancel | Pause] = []
        self.finished = False

    def receive(self, timeout: float) -> Checkpointed | Ended | Logged | Progressed | None:
        del timeout
        if not self._script:
            return None
        message = self._script.pop(0)
        if isinstance(message, type):
            raise message
        return message

    def send(self, message: JobDescription | Lease | Cancel | Pause) -> None:
        self.sent.append(message)

    def how_it_died(self) -> str:
        return "killed by signal 9"

    @property
    def was_killed(self) -> bool:
        return "signal 9" in self.how_it_died()

    def finish(self, timeout: float = 0) -> None:
        del timeout
        self.finished = True

    def kinds_sent(self) -> list[str]:
        return [message.type for message in self.sent]


class FakeChildren:
    """Starts the one child that the test has made."""

    def __init__(self, child: FakeChild) -> None:
        self._child = child

    def start(self, description: JobDescription) -> FakeChild:
        self._child.send(description)
        return self._child
