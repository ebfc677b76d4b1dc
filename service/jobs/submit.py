"""From a request to a queued job: everything that can be checked is checked before a row exists."""

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from ltl_core.errors import ChipUnavailableError
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import Reset, TrainingSettings
from service.bench.simulated import check_fit, spec_of
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.repositories.weights import WeightRepository
from service.db.session import clock
from service.db.tables import Chip, Job, Student, TargetSet
from service.errors import (
    ChipNotCalibratedError,
    ChunksMissingError,
    FieldProblem,
    InvalidFieldsError,
    JobStateError,
    SplitMissingError,
)
from service.jobs.engine import JobEngine
from service.schemas.jobs import (
    CalibrateRequest,
    ChipJobRequest,
    JobRequest,
    ProbeRequest,
    TrainRequest,
    TuneRequest,
)
from service.states import TERMINAL, JobKind, JobStatus, Split, TargetSetState
from service.version import code_version

_REQUESTS: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)
_TIMES = ("not_before", "queue_deadline")  # of the first request, not of one that repeats it


class Submitter:
    """Makes jobs in the caller's transaction: the row and its place in the queue, or neither."""

    def __init__(
        self, session: Session, engine: JobEngine, now: datetime, key_id: str | None = None
    ) -> None:
        """`key_id` says whose jobs they are; None: the service's own."""
        self._session = session
        self._engine = engine
        self._now = now
        self._key_id = key_id

    def submit(self, request: JobRequest) -> Job:
        """Raises whatever stands against it, and then nothing was stored."""
        if request.queue_deadline is not None and request.queue_deadline <= self._now:
            raise InvalidFieldsError(FieldProblem("/queue_deadline", "this time is over"))
        if isinstance(request, TrainRequest):
            return self._train(request)
        return self._on_chip(request)

    def collect(self, target_set: TargetSet) -> Job:
        """Run the teacher over a target set that is complete.

        Raises ChunksMissingError and SplitMissingError.
        """
        self._check_complete(target_set)
        sets = TargetSetRepository(self._session)
        sets.set_state(target_set.id, TargetSetState.COLLECTING)
        request = {
            "kind": JobKind.COLLECT,
            "target_set_id": target_set.id,
            "settings": {"percentile": target_set.percentile},
        }
        return self._queue(
            JobKind.COLLECT,
            request,
            teacher_id=target_set.teacher_id,
            target_set_id=target_set.id,
        )

    def again(self, job: Job) -> Job:
        """A new job with the same request. Raises JobStateError while the old one goes on."""
        if job.status not in TERMINAL:
            raise JobStateError(job.id, job.status, "only a job that has ended can be retried")
        if job.kind != JobKind.COLLECT:
            asked = {name: value for name, value in job.request.items() if name not in _TIMES}
            return self.submit(_REQUESTS.validate_python(asked))
        sets = TargetSetRepository(self._session)
        return self.collect(sets.get_in(str(job.target_set_id), TargetSetState.FAILED))

    def _train(self, request: TrainRequest) -> Job:
        sets = TargetSetRepository(self._session)
        target_set = sets.get_in(request.target_set_id, TargetSetState.READY)
        _check_frames(target_set, request.settings.neuron.steps)
        return self._queue(
            JobKind.TRAIN,
            request.model_dump(mode="json"),
            teacher_id=target_set.teacher_id,
            target_set_id=target_set.id,
        )

    def _on_chip(self, request: ChipJobRequest) -> Job:
        chip = ChipRepository(self._session).get_usable(request.chip_id)
        student = StudentRepository(self._session).get(self._student_id(chip, request))
        self._check_fit(chip, student)
        self._check_drivable(student)
        if isinstance(request, CalibrateRequest):
            _check_observable(chip, request.settings.observable)
        if isinstance(request, TuneRequest):
            _check_tunable(chip)
            self._check_registers(request, student)
        silent = self._silence(chip, request)
        job = self._queue(
            JobKind(request.kind),
            request.model_dump(mode="json"),
            teacher_id=student.teacher_id,
            target_set_id=student.target_set_id,
            student_id=student.id,
            chip_id=chip.id,
        )
        if silent is not None:
            reason = f"its chip is offline: {silent}"
            JobRepository(self._session).set_waiting(job.id, reason, self._now)
        return job

    def _silence(self, chip: Chip, request: ChipJobRequest) -> str | None:
        """Why the chip is offline, for a job that waits. Raises ChipUnavailableError."""
        silent = AgentRepository(self._session).why_silent(chip.id, clock(self._session))
        if silent is not None and request.if_unavailable == "reject":
            raise ChipUnavailableError(chip.id, silent)
        return silent

    def _student_id(self, chip: Chip, request: ChipJobRequest) -> str:
        """Whose codes are in force, where none was named.

        Raises InvalidFieldsError and ChipNotCalibratedError.
        """
        if not isinstance(request, ProbeRequest) and request.student_id is not None:
            return request.student_id
        if chip.version_in_force is None:
            if isinstance(request, ProbeRequest):
                raise ChipNotCalibratedError(chip.id)
            raise _wrong_student("the chip has no weights in force: name a student")
        return WeightRepository(self._session).get(chip.id, chip.version_in_force).student_id

    def _check_registers(self, request: TuneRequest, student: Student) -> None:
        """Registers belong to one chip, and a job keeps those under one network."""
        if request.registers_of is None:
            return
        job = JobRepository(self._session).get(request.registers_of)
        fits = (job.kind, job.chip_id) == (JobKind.TUNE, request.chip_id)
        if not fits or job.status != JobStatus.SUCCEEDED or job.teacher_id != student.teacher_id:
            message = "name a tune job of this chip that succeeded, with the same network"
            raise InvalidFieldsError(FieldProblem("/registers_of", message))

    def _queue(self, kind: JobKind, request: dict[str, Any], **parts: str) -> Job:
        job = Job(
            id=str(uuid7()),
            kind=kind,
            status=JobStatus.QUEUED,
            request=request,
            priority=request.get("priority", 5),
            not_before=_time(request.get("not_before")),
            queue_deadline=_time(request.get("queue_deadline")),
            key_id=self._key_id,
            turn=0,
            attempt=0,
            created_at=self._now,
            code_version=code_version(),
            **parts,
        )
        JobRepository(self._session).add(job)
        self._engine.enqueue(self._session, job)
        return job

    def _check_complete(self, target_set: TargetSet) -> None:
        chunks = TargetSetRepository(self._session).chunks(target_set.id)
        arrived = {chunk.index for chunk in chunks}
        if missing := [index for index in range(target_set.chunks) if index not in arrived]:
            raise ChunksMissingError(missing)
        for split in Split:
            if not any(chunk.split == split and chunk.samples for chunk in chunks):
                raise SplitMissingError(split)

    def _check_drivable(self, student: Student) -> None:
        """What no chip is shown, and no chip's neurons do. Raises InvalidFieldsError."""
        summary = TargetSetRepository(self._session).get(student.target_set_id).summary or {}
        if summary.get("frames"):
            raise _wrong_student(
                "it learned from sequences of frames; chips are shown still inputs"
            )
        request = JobRepository(self._session).get(student.job_id).request
        trained = TrainingSettings.model_validate(request.get("settings", {}))
        if trained.neuron.reset is not Reset.ZERO:
            raise _wrong_student("its spikes subtract the threshold; chips reset to zero")

    def _check_fit(self, chip: Chip, student: Student) -> None:
        """A bench's own chip is asked when the job places the network on it."""
        if chip.backend == "simulated":
            teacher = TeacherRepository(self._session).get(student.teacher_id)
            check_fit(NetworkSpec.model_validate(teacher.network), spec_of(chip.settings))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _wrong_student(message: str) -> InvalidFieldsError:
    return InvalidFieldsError(FieldProblem("/student_id", message))


def _check_frames(target_set: TargetSet, steps: int) -> None:
    frames = (target_set.summary or {}).get("frames")
    if frames and frames != steps:
        message = f"each sample has {frames} frames, so the window must have {frames} steps"
        raise InvalidFieldsError(FieldProblem("/settings/neuron/steps", message))


def _check_tunable(chip: Chip) -> None:
    """A bench that has not been heard of is asked when the job starts."""
    if chip.info and chip.backend != "simulated" and chip.info.get("tuning") is None:
        message = "this chip has no registers to tune, or its driver does not reach them"
        raise InvalidFieldsError(FieldProblem("/chip_id", message))


def _check_observable(chip: Chip, observable: str) -> None:
    shown = chip.info.get("observables")
    if shown is not None and observable not in shown:
        message = f"this chip cannot show '{observable}'; use one of {', '.join(shown)}"
        raise InvalidFieldsError(FieldProblem("/settings/observable", message))
