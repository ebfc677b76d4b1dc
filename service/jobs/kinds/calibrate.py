"""Calibration: bring a chip to what the golden student does."""

import time
from typing import TYPE_CHECKING, Literal

from sqlalchemy.orm import Session

from ltl_core.calibration.prediction import Prediction
from ltl_core.progress import Phase, Progress
from ltl_core.settings import CalibrationSettings, Data
from service.db.repositories.weights import Publication, WeightRepository
from service.db.tables import Chip, Job
from service.formatting import percent
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_and_student import (
    ChipAndStudent,
    find_chip_and_student,
    student_in_force,
    student_inputs,
)
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.predicted_loss import OBSERVED, prediction_json
from service.jobs.kinds.spec import (
    CHIP_SESSION,
    TARGETS,
    Facts,
    JobKindSpec,
    JobSubject,
    ResultStore,
)
from service.jobs.messages import Ended, Json
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import ResourceId
from service.schemas.jobs import ChipSubmission
from service.states import JobStatus, Split

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.calibration.compensation import CompensationResult
    from ltl_core.calibration.drift_stage import InForce
    from ltl_core.calibration.loop import Calibration
    from ltl_core.calibration.result import CalibrationResult, Checkpoint, StageResult
    from service.jobs.kinds.chip_session import JobChipSession

_CHECKPOINT_INTERVAL = 2.0  # s


class CalibrateRequest(ChipSubmission):
    """Bring a chip to what the golden student does."""

    kind: Literal["calibrate"]
    student_id: ResourceId
    settings: CalibrationSettings = CalibrationSettings()


def admit(session: Session, request: CalibrateRequest) -> JobSubject:
    """Admit it where the chip shows what the rule needs; raises what any job with a chip does."""
    found = find_chip_and_student(session, request)
    _check_observable(found.chip, request.settings.observable)
    _check_drift(session, found, request.settings)
    return found.subject()


def inputs(session: Session, job: Job) -> Json:
    """Describe the student, and what the chip answered when the codes in force were published."""
    whole = student_inputs(session, job)
    if whole["in_force_sha256"] is None or job.chip_id is None or job.weights_in_force is None:
        return whole
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    return whole | {"extra": {"fingerprint": version.fingerprint}}


def calibrate(context: JobContext) -> Ended:
    """Bring the chip to what the golden student does, and keep the better codes."""
    from service.jobs.kinds.chip_session import JobChipSession

    attempt = CalibrationAttempt(JobChipSession(context))
    calibration = attempt.calibration()
    for progress in calibration.steps():
        attempt.chip.report(progress)
        if context.link.cancelled():
            attempt.put_back(calibration)
        attempt.after_step(calibration, progress)
    return attempt.finished(calibration.result)


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the accuracy, and publish codes that are better. Raises AttemptSupersededError."""
    result = ended.result or {}
    to.record_loss(float(result["accuracy"]["before"]))
    to.record_accuracy(float(result["accuracy"]["after"]), result)
    if "weights" not in ended.blocks:
        _record_compensation(to, result)
        return result | {"weights_version": None}
    publication = Publication(
        job_id=to.job.id,
        token=to.token,
        block=to.artifacts.read(ended.blocks["weights"]),
        chip_time=float(result["chip_time_s"]),
        rule=result["rule"],
        observable=result["observable"],
        accuracy=result["accuracy"],
        fingerprint=result.get("fingerprint"),
        code_version=to.job.code_version,
    )
    version = WeightRepository(to.session).publish(publication, to.now).version
    if publication.fingerprint is not None:
        nothing = prediction_json(Prediction(0.0, 0.0, 0.0))
        to.record_fingerprint(publication.fingerprint, version, 0.0, nothing)
    return result | {"weights_version": version}


def outcome(result: Json) -> str:
    """Say how accurate the chip was and is, and whether its codes were published."""
    accuracy = result.get("accuracy") or {}
    if not {"before", "after", "golden"} <= accuracy.keys():
        return ""
    change = f"{percent(accuracy['before'])} before, {percent(accuracy['after'])} after"
    if result.get("compensated"):
        return f"{change}; drift compensated by registers, weights unchanged"
    if not result.get("published"):
        return f"{change}; not better, old codes put back"
    version = result.get("weights_version")
    return f"{change}; published as version {version}" if version else f"{change}; published"


def facts(job: Job) -> Facts:
    """Name the version that was in force when the job started."""
    if job.weights_in_force is None:
        return []
    return [("In force before", f"version {job.weights_in_force}")]


class CalibrationAttempt:
    """One attempt at a calibration, in the child process."""

    def __init__(self, chip: "JobChipSession") -> None:
        self.chip = chip
        self._context = chip.context
        self._kept_at = time.monotonic()
        self.settings = CalibrationSettings.model_validate(
            self._context.description.request.get("settings") or {}
        )

    def calibration(self) -> "Calibration":
        """Begin, or go on from where the attempt before left off."""
        from ltl_core.calibration.loop import Calibration
        from service.jobs.kinds.targets import read_targets

        made = self.settings.data is Data.SYNTHETIC
        return Calibration(
            self.chip.backend,
            self.chip.student,
            None if made else read_targets(Split.CALIBRATION, self._context),
            read_targets(Split.TEST, self._context),
            self.settings,
            start=self._in_force(),
            checkpoint=self._checkpoint(),
        )

    def _in_force(self) -> "InForce | None":
        """Return the version in force with its fingerprint; None if the chip has none."""
        from ltl_core.calibration.drift import MeanFingerprint
        from ltl_core.calibration.drift_stage import InForce

        if self.chip.start is None:
            return None
        found = self._context.description.extra.get("fingerprint")
        return InForce(self.chip.start, None if found is None else MeanFingerprint.from_json(found))

    def _checkpoint(self) -> "Checkpoint | None":
        """Read the checkpoint of the attempt before; None where this version cannot go on."""
        from ltl_core.calibration.result import Checkpoint, EarlierCheckpointError

        sha256 = self._context.description.checkpoint_sha256
        if sha256 is None:
            return None
        try:
            return Checkpoint.from_block(self._context.artifacts.read(sha256))
        except EarlierCheckpointError as error:
            self._context.log(f"calibration: the checkpoint is not used: {error}")
            return None

    def put_back(self, calibration: "Calibration") -> None:
        """Put the codes of before on the chip again. Raises CancelledWorkError."""
        calibration.roll_back()
        raise self.chip.cancelled("cancelled; the codes of before were put back")

    def after_step(self, calibration: "Calibration", progress: Progress) -> None:
        """Store a checkpoint now and then; stop where the budget of seconds is used up."""
        self._mind_seconds(calibration)
        waited = time.monotonic() - self._kept_at >= _CHECKPOINT_INTERVAL
        due = waited or self._context.link.pausing()
        learning = progress.phase in (Phase.BEFORE, Phase.CALIBRATING)
        if learning and (due or progress.phase is Phase.BEFORE):
            block = calibration.checkpoint().to_block(self._context.owner)
            self._context.checkpoint(block, progress.step, self.chip.saved_chip())
            self._kept_at = time.monotonic()

    def finished(self, found: "CalibrationResult") -> Ended:
        """Say what the calibration came to. Codes that are not better are not published."""
        return Ended(
            status=JobStatus.SUCCEEDED,
            result=self._result(found),
            blocks=self._weights(found) if found.is_new_version else {},
            chip_state_sha256=self.chip.saved_chip(),
        )

    def _mind_seconds(self, calibration: "Calibration") -> None:
        from ltl_core.calibration.result import EndedBy

        limit = self.settings.budget.seconds
        if limit is not None and self.chip.seconds() >= limit:
            calibration.stop(EndedBy.SECONDS)

    def _result(self, found: "CalibrationResult") -> Json:
        before, after = found.before.test, found.after.test
        accuracy = self.chip.golden(found.golden.accuracy) | {
            "before": before.accuracy,
            "after": after.accuracy,
        }
        return {
            "accuracy": accuracy,
            "recovered_fraction": recovered(accuracy),
            "rate_error": {"before": list(before.rate_error), "after": list(after.rate_error)},
            "predicted_loss_points": found.after.verification.points,
            "agreement": found.after.verification.agreement,
            "stages": [_stage(stage) for stage in found.stages],
            "ended_by": found.ended_by,
            "drift": _drift(found.compensation),
            "published": found.is_new_version,
            "compensated": found.improved and not found.is_new_version,
            "rule": self.settings.rule,
            "observable": self.settings.observable,
            "health": health_by_accuracy(after.accuracy, accuracy["golden"]),
            "chip_time_s": self.chip.backend.now(),
            "fingerprint": self._fingerprint(),
            "spent": found.spent._asdict() | {"seconds": self.chip.seconds()},
        }

    def _fingerprint(self) -> Json:
        """Measure what later probes will compare with."""
        from ltl_core.calibration.drift import measure_fingerprint
        from ltl_core.calibration.watch import observe_loss
        from service.jobs.kinds.targets import read_watched

        backend, student = self.chip.backend, self.chip.student
        observed = observe_loss(backend, student, read_watched(student, self._context))
        return measure_fingerprint(backend).to_json() | {OBSERVED: observed._asdict()}

    def _weights(self, found: "CalibrationResult") -> dict[str, str]:
        calibrated = self.chip.student.with_codes(found.codes).to_block()
        return {"weights": self._context.artifacts.put(calibrated)}


def _stage(stage: "StageResult") -> Json:
    return stage._asdict() | {"spent": stage.spent._asdict()}


def _drift(found: "CompensationResult | None") -> Json | None:
    """Say what the compensation of drift brought: scores, and the gain of each layer."""
    if found is None:
        return None
    return {
        "score_before": found.before.score,
        "score_after": found.after.score,
        "factors": {layer.layer: layer.factor for layer in found.layers},
    }


def _record_compensation(to: ResultStore, result: Json) -> None:
    """Record what a chip answers whose drift was compensated, with the same weights in force."""
    version = to.job.weights_in_force
    if result.get("compensated") and version is not None:
        score = result["drift"]["score_after"]  # the accuracy was measured: nothing is predicted
        to.record_fingerprint(result["fingerprint"], version, score, None)


def recovered(accuracy: dict[str, float]) -> float | None:
    """Return (after - before) / (golden - before); None where nothing was lost."""
    lost = accuracy["golden"] - accuracy["before"]
    return None if lost <= 0 else (accuracy["after"] - accuracy["before"]) / lost


def _check_observable(chip: Chip, observable: str) -> None:
    shown = chip.info.get("observables")
    if shown is not None and observable not in shown:
        message = f"this chip cannot show '{observable}'; use one of {', '.join(shown)}"
        raise InvalidFieldsError(FieldProblem("/settings/observable", message))


def _check_drift(session: Session, found: ChipAndStudent, settings: CalibrationSettings) -> None:
    """Refuse to compensate drift alone if it is not known what the chip did before it."""
    if settings.learns:
        return
    if student_in_force(session, found.chip) != found.student.id:
        message = (
            "the stage 'drift' alone needs weights of this student in force: "
            "calibrate the chip with all stages first"
        )
        raise InvalidFieldsError(FieldProblem("/settings/stages", message))


KIND = JobKindSpec(
    name="calibrate",
    noun="Calibration",
    request=CalibrateRequest,
    needs_chip=True,
    admit=admit,
    work=calibrate,
    loads=("ltl_core.calibration.loop", CHIP_SESSION, TARGETS),
    inputs=inputs,
    store=store,
    outcome=outcome,
    facts=facts,
)
