"""What the service has to know of a kind of job; `registry.py` lists the kinds.

A kind is one file beside this one. It declares `KIND`, a `JobKindSpec`. The process that answers
HTTP reads it too and must not load torch, so the file imports what needs torch inside the functions
that run in the child process.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session
from uuid_utils import uuid7

from service.artifacts import ArtifactStore
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository, ProbeRecord
from service.db.repositories.jobs import JobRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Job
from service.jobs.kinds.context import JobContext
from service.jobs.messages import Ended, Json
from service.request_errors import JobTooLargeError
from service.schemas.jobs import Submission
from service.states import ChipHealth, JobStatus
from service.version import code_version

Facts = list[tuple[str, str]]
CHIP_SESSION = "service.jobs.kinds.chip_session"  # to be named in `loads`
TARGETS = "service.jobs.kinds.targets"


class JobSubject(NamedTuple):
    """The rows that a job is about, as they stand in its own row."""

    teacher_id: str | None = None
    target_set_id: str | None = None
    student_id: str | None = None
    chip_id: str | None = None


class ResultStore(NamedTuple):
    """One attempt that succeeded, and where its result goes."""

    session: Session
    job: Job
    token: int
    now: datetime
    artifacts: ArtifactStore

    def queue(self, request: Submission) -> Job:
        """Queue another job about the same rows, by the same key, in this transaction.

        The engine finds it when it next looks for jobs that may start.
        """
        subject = JobSubject(*(getattr(self.job, name) for name in JobSubject._fields))
        job = new_job(request, subject, self.now, self.job.key_id)
        JobRepository(self.session).add(job)
        return job

    def record_accuracy(self, accuracy: float, result: Json) -> None:
        """Record what the chip was measured to do, and its health by that."""
        chips, chip_id = ChipRepository(self.session), str(self.job.chip_id)
        health = ChipHealth(result.get("health", ChipHealth.UNKNOWN))
        chips.record_accuracy(chip_id, accuracy)
        chips.set_health(chip_id, health, self.job.id, self.now)

    def record_loss(self, accuracy: float) -> None:
        """Record the accuracy of the version that the job found in force beside its last probe."""
        chip_id, number = self.job.chip_id, self.job.weights_in_force
        if chip_id is None or number is None:
            return
        version = WeightRepository(self.session).get(chip_id, number)
        if version.student_id == self.job.student_id:  # else the student's own codes were measured
            lost = 100 * (float(version.accuracy["after"]) - accuracy)
            FingerprintRepository(self.session).record_loss(version, lost, self.now)

    def record_fingerprint(
        self, answer: Json, version: int, score: float | None, predicted_loss: Json | None
    ) -> None:
        """Record what the chip answered to its fixed stimulus while `version` was in force."""
        probed = ProbeRecord(
            chip_id=str(self.job.chip_id),
            job_id=self.job.id,
            version=version,
            answer=answer,
            score=score,
            predicted_loss=predicted_loss,
            chip_time=float(answer["chip_time_s"]),
        )
        FingerprintRepository(self.session).keep(probed, self.now)


def new_job(request: Submission, subject: JobSubject, now: datetime, key_id: str | None) -> Job:
    """Make the row of a job that is queued; `key_id` names the key whose job it is."""
    return Job(
        id=str(uuid7()),
        kind=request.kind,
        status=JobStatus.QUEUED,
        request=request.model_dump(mode="json"),
        priority=request.priority,
        not_before=request.not_before,
        queue_deadline=request.queue_deadline,
        key_id=key_id,
        turn=0,
        attempt=0,
        created_at=now,
        code_version=code_version(),
        **subject._asdict(),
    )


def no_inputs(session: Session, job: Job) -> Json:
    """Add nothing to the description that every child is given."""
    del session, job
    return {}


def no_memory(session: Session, request: Any) -> int:
    """Estimate nothing."""
    del session, request
    return 0


def store_result(store: ResultStore, ended: Ended) -> Json:
    """Store the result in the job's row alone."""
    del store
    return ended.result or {}


def no_outcome(result: Json) -> str:
    """Say nothing of the result in a table."""
    del result
    return ""


def no_facts(job: Job) -> Facts:
    """Add no lines to the job's page."""
    del job
    return []


class JobKindSpec(NamedTuple):
    """One kind of job: how it is asked for, what it does, where its result goes, how it reads."""

    name: str  # in requests, in rows, in answers
    noun: str  # begins the headline of the job's page: "Tuning of chip 7"
    request: type[Submission]  # the body that asks for it; its field `kind` is the name
    needs_chip: bool
    # In the transaction that queues the job: raises whatever stands against the request.
    admit: Callable[[Session, Any], JobSubject]
    work: Callable[[JobContext], Ended]  # in the child process; a function of a module
    loads: tuple[str, ...] = ()  # modules that the work imports: loaded once, in the fork server
    # At the start of an attempt: fields that the child's description gains.
    inputs: Callable[[Session, Job], Json] = no_inputs
    # In the transaction that ends a job that succeeded: returns what its row shows as result.
    store: Callable[[ResultStore, Ended], Json] = store_result
    outcome: Callable[[Json], str] = no_outcome  # of a job that succeeded, in a few words
    verdict: Callable[[Json], str] = no_outcome  # why it came out so, a sentence for its page
    facts: Callable[[Job], Facts] = no_facts  # lines of the job's page, at any time
    # An estimate of the memory that the work needs, bytes, for a request that was admitted.
    memory: Callable[[Session, Any], int] = no_memory
    accepted: bool = True  # by POST /v1/jobs; else the service alone asks for it

    @property
    def work_address(self) -> str:
        """The address of the function that does the work, for the child: `module:function`."""
        return f"{self.work.__module__}:{self.work.__qualname__}"


def check_memory(
    session: Session, kind: JobKindSpec, request: Submission, limit: int | None
) -> None:
    """Raise JobTooLargeError if the job is estimated to need more than `limit` bytes."""
    if limit is None:
        return
    needed = kind.memory(session, request)
    if needed > limit:
        raise JobTooLargeError(needed, limit)
