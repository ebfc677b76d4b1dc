"""From the rows of a job to the description that its child is given."""

from datetime import datetime

from sqlalchemy.orm import Session

from service.bench.chip_ref import ChipRef
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Chip, Job
from service.jobs.messages import ChunkRef, House, JobDescription, Json
from service.states import JobKind, Split


class Describer:
    """Reads what one job needs. `aging` is how many seconds simulated chips age in one."""

    def __init__(self, session: Session, house: House, aging: float) -> None:
        self._session = session
        self._house = house
        self._aging = aging

    def describe(self, job: Job, now: datetime) -> JobDescription:
        """Raises NotFoundError where something it needs is gone."""
        whole = {
            "house": self._house,
            "job_id": job.id,
            "kind": JobKind(job.kind),
            "attempt": job.attempt,
            "request": job.request,
            "checkpoint_sha256": job.checkpoint_sha256,
            "elapsed_s": float((job.spent or {}).get("seconds", 0.0)),
        }
        whole |= self._teacher(job) | self._targets(job) | self._student(job)
        return JobDescription(**whole, chip=self._chip(job, now))

    def _teacher(self, job: Job) -> Json:
        if job.teacher_id is None:
            return {}
        teacher = TeacherRepository(self._session).get(job.teacher_id)
        return {"network": teacher.network, "weights_sha256": teacher.weights_sha256}

    def _targets(self, job: Job) -> Json:
        if job.target_set_id is None:
            return {}
        sets = TargetSetRepository(self._session)
        target_set = sets.get(job.target_set_id)
        chunks = tuple(
            ChunkRef(split=Split(chunk.split), sha256=chunk.sha256)
            for chunk in sets.chunks(job.target_set_id)
        )
        summary = target_set.summary or {}
        return {
            "chunks": chunks,
            "percentile": target_set.percentile,
            "targets": summary.get("blocks", {}),
            "accuracy": {"teacher": summary.get("teacher_accuracy", {}).get(Split.TEST)},
        }

    def _student(self, job: Job) -> Json:
        if job.student_id is None or job.kind == JobKind.TRAIN:
            return {}
        if job.kind == JobKind.PROBE:
            return self._version(job)
        student = StudentRepository(self._session).get(job.student_id)
        return {
            "student_sha256": student.sha256,
            "accuracy": student.accuracy,
            "in_force_sha256": self._in_force(job),
            "registers_sha256": self._registers(job),
        }

    def _registers(self, job: Job) -> str | None:
        """Those that an earlier tuning found, where they are to be set again."""
        earlier = job.request.get("registers_of")
        if earlier is None:
            return None
        found = JobRepository(self._session).get(earlier).result or {}
        return str(found["registers_sha256"])

    def _version(self, job: Job) -> Json:
        """What was in force when the job started, whose student it ever was."""
        if job.chip_id is None or job.weights_in_force is None:
            return {}
        version = WeightRepository(self._session).get(job.chip_id, job.weights_in_force)
        return {
            "student_sha256": StudentRepository(self._session).get(version.student_id).sha256,
            "in_force_sha256": version.sha256,
            "version_in_force": version.version,
            "fingerprint": version.fingerprint,
        }

    def _in_force(self, job: Job) -> str | None:
        """The chip's codes when the job started, unless they belong to another student."""
        if job.chip_id is None or job.weights_in_force is None:
            return None
        version = WeightRepository(self._session).get(job.chip_id, job.weights_in_force)
        return version.sha256 if version.student_id == job.student_id else None

    def _chip(self, job: Job, now: datetime) -> ChipRef | None:
        if job.chip_id is None or job.token is None:
            return None
        chip = ChipRepository(self._session).get(job.chip_id)
        idle = (now - chip.state_saved_at).total_seconds() if chip.state_saved_at else 0.0
        return ChipRef(
            chip_id=chip.id,
            backend=chip.backend,
            settings=chip.settings | self._address(chip),
            state_sha256=chip.state_sha256,
            idle_s=max(0.0, idle) * self._aging,
            token=job.token,
            seconds_per_second=self._aging,
        )

    def _address(self, chip: Chip) -> Json:
        """Where the agent of a chip answers, and with what the service proves itself there."""
        agent = AgentRepository(self._session).of_chip(chip.id)
        return {} if agent is None else {"url": agent.url, "secret": agent.secret} | agent.limits
