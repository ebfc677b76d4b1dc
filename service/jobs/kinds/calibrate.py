"""Calibration: bring a chip to what the golden student does."""

from typing import Literal

from pydantic import Field
from sqlalchemy.orm import Session

from ltl_core.calibration.abilities import what_is_missing
from ltl_core.calibration.prediction import Prediction
from ltl_core.chip_info import info_from_json
from ltl_core.partitioned.plan import info_in_passes
from ltl_core.settings import CalibrationSettings, StageName
from service.db.repositories.students import StudentRepository
from service.db.repositories.weights import Publication, WeightRepository
from service.db.tables import Chip, Job
from service.formatting import percent
from service.jobs.kinds.chip_and_student import (
    ChipAndStudent,
    find_chip_and_student,
    student_in_force,
    student_inputs,
)
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.golden_accuracy import KEPT
from service.jobs.kinds.last_trims import (
    LEAST_AGE,
    MOST_AGE,
    TOO_YOUNG,
    WAITS,
    age_input,
    check_followed,
    last_trims_settings,
    not_before,
    wait_for_age,
)
from service.jobs.kinds.needed_memory import calibration_memory
from service.jobs.kinds.predicted_loss import prediction_json
from service.jobs.kinds.shelf_life import ClockReading, age_of_cells, update_validity
from service.jobs.kinds.spec import (
    CHIP_SESSION,
    TARGETS,
    Facts,
    JobKindSpec,
    JobSubject,
    ResultStore,
)
from service.jobs.kinds.verdict import verdict
from service.jobs.kinds.weight_map import WEIGHT_MAP
from service.jobs.messages import Ended, Json
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import IdOrName, ResourceId
from service.schemas.jobs import ChipSubmission


class CalibrateRequest(ChipSubmission):
    """Bring a chip to what the golden student does."""

    kind: Literal["calibrate"]
    student_id: IdOrName
    settings: CalibrationSettings = CalibrationSettings()
    # Age at which the chip gets its last trims, in s of its own clock: a job that follows by itself
    # if this one publishes a version. Meanwhile the chip is free.
    last_trims_after_s: float | None = Field(default=None, ge=LEAST_AGE, le=MOST_AGE)
    follows: ResourceId | None = None  # the calibration to whose version these last trims belong


def admit(session: Session, request: CalibrateRequest) -> JobSubject:
    """Admit it where the chip shows what the rule needs; raises what any job with a chip does."""
    found = find_chip_and_student(session, request)
    _check_observable(found.chip, request.settings.observable)
    _check_stages(found, request.settings)
    _check_drift(session, found, request.settings)
    if request.follows is not None:
        check_followed(session, request.follows, found.chip.id, found.student.id)
    return found.subject()


def inputs(session: Session, job: Job) -> Json:
    """Describe the student, and what the chip answered when the codes in force were published."""
    whole = student_inputs(session, job)
    student = StudentRepository(session).get(str(job.student_id))
    extra: Json = {KEPT: student.golden_accuracy}
    if job.request.get("follows"):
        extra |= age_input(session, job)
    if whole["in_force_sha256"] is None or job.chip_id is None or job.weights_in_force is None:
        return whole | {"extra": extra}
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    return whole | {"extra": extra | {"fingerprint": version.fingerprint}}


def calibrate(context: JobContext) -> Ended:
    """Bring the chip to what the golden student does, and keep the better codes."""
    from service.jobs.kinds.calibration_attempt import CalibrationAttempt
    from service.jobs.kinds.chip_session import JobChipSession

    attempt = CalibrationAttempt(JobChipSession(context))
    ended = wait_for_age(attempt.chip)
    if ended is not None:
        return ended
    calibration = attempt.calibration()
    for progress in calibration.steps():
        attempt.chip.report(progress)
        if context.link.cancelled():
            attempt.put_back(calibration)
        attempt.after_step(calibration, progress)
    return attempt.finished(calibration.result)


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the accuracy, and publish codes that are better. Raises AttemptSupersededError."""
    result = dict(ended.result or {})
    if golden := result.pop(KEPT, None):
        StudentRepository(to.session).keep_golden_accuracy(str(to.job.student_id), golden)
    rate, shown = result.pop("clock_rate", None), result.pop(WEIGHT_MAP, None)
    if TOO_YOUNG in result:
        again = CalibrateRequest.model_validate(to.job.request)
        return _follow(to, again, result[TOO_YOUNG], result)
    to.record_loss(float(result["accuracy"]["before"]))
    to.record_accuracy(float(result["accuracy"]["after"]), result)
    if "weights" not in ended.blocks:
        if _record_compensation(to, result, shown):
            result |= {"validity": _validity(to, result, rate)}
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
        cells_age=age_of_cells(to.session, str(to.job.chip_id), str(to.job.student_id), result),
        temperature=result.get("temperature_kelvin"),
    )
    version = WeightRepository(to.session).publish(publication, to.now).version
    if publication.fingerprint is not None:
        nothing = prediction_json(Prediction(0.0, 0.0, 0.0))
        answer = publication.fingerprint | {WEIGHT_MAP: shown}
        to.record_fingerprint(answer, version, 0.0, nothing)
    whole = result | {"weights_version": version, "validity": _validity(to, result, rate)}
    return _with_last_trims(to, whole)


def outcome(result: Json) -> str:
    """Say how accurate the chip was and is, and whether its codes were published."""
    if not result.get("accuracy") and "last_trims_job_id" in result:
        return "the chip is not old enough yet; it comes again"
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
    """Name the version that was in force when the job started, and jobs that belong to it."""
    found = []
    if job.weights_in_force is not None:
        found.append(("In force before", f"version {job.weights_in_force}"))
    if first := (job.request or {}).get("follows"):
        found.append(("Last trims of", f"job {first}"))
    if trims := (job.result or {}).get("last_trims_job_id"):
        found.append(("Last trims", f"job {trims}"))
    return found


def _with_last_trims(to: ResultStore, result: Json) -> Json:
    """Queue the last trims of the version that was published, if they were asked for."""
    if to.job.request.get("last_trims_after_s") is None:
        return result
    request = CalibrateRequest.model_validate(to.job.request)
    trims = request.model_copy(
        update={
            "settings": last_trims_settings(request.settings),
            "last_trims_after_s": None,
            "follows": to.job.id,
        }
    )
    return _follow(to, trims, result[WAITS], result)


def _follow(to: ResultStore, request: CalibrateRequest, wait_s: float, result: Json) -> Json:
    """Queue the last trims in `wait_s` seconds, in the transaction that ends this job."""
    then = not_before(to.now, wait_s)
    times = {"not_before": then, "queue_deadline": None, "if_unavailable": "queue"}
    following = to.queue(request.model_copy(update=times))
    return result | {"last_trims_job_id": following.id}


def _record_compensation(to: ResultStore, result: Json, weight_map: Json | None) -> bool:
    """Record what a chip answers whose drift was compensated, with the same weights in force.

    Return whether there was such a compensation.
    """
    version = to.job.weights_in_force
    if not result.get("compensated") or version is None:
        return False
    score = result["drift"]["score_after"]  # the accuracy was measured: nothing is predicted
    to.record_fingerprint(result["fingerprint"] | {WEIGHT_MAP: weight_map}, version, score, None)
    return True


def _validity(to: ResultStore, result: Json, rate: float | None) -> Json | None:
    """Predict how long the weights in force are valid now."""
    reading = ClockReading(float(result["chip_time_s"]), to.now)
    return update_validity(to.session, str(to.job.chip_id), reading, rate)


def _check_observable(chip: Chip, observable: str) -> None:
    shown = chip.info.get("observables")
    if shown is not None and observable not in shown:
        message = f"this chip cannot show '{observable}'; use one of {', '.join(shown)}"
        raise InvalidFieldsError(FieldProblem("/settings/observable", message))


def _check_stages(found: ChipAndStudent, settings: CalibrationSettings) -> None:
    """Refuse stages of which the chip can run none.

    A chip whose agent has not registered is asked later, but has no side weights until it says so.
    """
    if found.chip.info:
        info = info_from_json(found.chip.info)
        missing = what_is_missing(settings, info if found.passes == 1 else info_in_passes(info))
    else:
        missing = ("digital side weights",) if settings.stages == (StageName.SIDE,) else ()
    if missing:
        message = f"this chip has no {' and no '.join(missing)}; name another stage as well"
        raise InvalidFieldsError(FieldProblem("/settings/stages", message))


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
    loads=(
        "service.jobs.kinds.calibration_attempt",
        "ltl_core.calibration.weight_map",
        CHIP_SESSION,
        TARGETS,
    ),
    inputs=inputs,
    store=store,
    outcome=outcome,
    verdict=verdict,
    facts=facts,
    memory=calibration_memory,
)
