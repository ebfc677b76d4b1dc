"""Tuning: make the converters and neurons of a chip alike by its registers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.orm import Session

from ltl_core.progress import Phase, Progress
from ltl_core.settings import TuneSettings
from service.db.repositories.jobs import JobRepository
from service.db.tables import Job, Student
from service.formatting import percent
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_and_student import (
    ChipAndStudent,
    find_chip_and_student,
    student_inputs,
)
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.needed_memory import measuring_memory
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
from service.schemas.base import IdOrName, ResourceId
from service.schemas.jobs import ChipSubmission
from service.states import JobStatus, Split

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.student.evaluate import Quality
    from ltl_core.tuning.result import TunedLayer, TuningCheck
    from ltl_core.tuning.tuner import Tuner
    from service.jobs.kinds.chip_session import JobChipSession


class TuneRequest(ChipSubmission):
    """Make the circuits of a chip alike by its registers; the student says what stands on it."""

    kind: Literal["tune"]
    student_id: IdOrName | None = None  # None: that of the version in force
    registers_of: ResourceId | None = None  # an earlier tune job, whose registers are set again
    settings: TuneSettings = TuneSettings()


def admit(session: Session, request: TuneRequest) -> JobSubject:
    """Admit it where the chip has registers; raises what any job with a chip does."""
    found = find_chip_and_student(session, request)
    _check_tunable(found)
    _check_registers(session, request, found.student)
    return found.subject()


def inputs(session: Session, job: Job) -> Json:
    """Name the registers that an earlier tuning found, where they are to be set again."""
    whole = student_inputs(session, job)
    earlier = job.request.get("registers_of")
    if earlier is None:
        return whole
    found = JobRepository(session).get(earlier).result or {}
    return whole | {"extra": {"registers_sha256": str(found["registers_sha256"])}}


def tune(context: JobContext) -> Ended:
    """Search the registers, or set those of an earlier tuning; then check what came of it."""
    from ltl_core.tuning.result import to_block
    from service.jobs.kinds.chip_session import JobChipSession
    from service.jobs.kinds.targets import read_targets

    chip = JobChipSession(context)
    session, test = chip.prepared(), read_targets(Split.TEST, context)
    before = session.measure(test)
    chip.report(Progress(Phase.PLACING, 0, 1, before.accuracy, spent=session.spent))
    tuner = _tuner(chip)
    tuned = _found_before(context) or _searched(tuner, chip)
    tuner.apply(tuned)
    checks = tuner.check(tuned)
    _stop_if_cancelled(tuner, chip)
    quality = session.measure(test)
    chip.report(Progress(Phase.AFTER, 1, 1, quality.accuracy, quality.rate_error, session.spent))
    registers = context.artifacts.put(to_block(tuned))
    about = _accuracy(chip, before, quality) | _layers(tuned, checks)
    return Ended(
        status=JobStatus.SUCCEEDED,
        result=about | {"registers_sha256": registers, "chip_time_s": chip.backend.now()},
        blocks={"registers": registers},
        chip_state_sha256=chip.saved_chip(),
    )


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the accuracy of the tuned chip."""
    result = ended.result or {}
    to.record_accuracy(float(result["accuracy"]["now"]), result)
    return result


def outcome(result: Json) -> str:
    """Say whether all circuits are alike, and how accurate the chip was and is."""
    accuracy = result.get("accuracy") or {}
    change = f"{percent(accuracy['untuned'])} before, {percent(accuracy['now'])} after"
    failures = result.get("failures") or ()
    return f"{change}; {'; '.join(failures) if failures else 'all circuits alike'}"


def facts(job: Job) -> Facts:
    """Say how alike the circuits of each layer were and are."""
    layers: Mapping[str, Any] = (job.result or {}).get("layers") or {}
    return [(f"Spread in {name}", _spread(layer)) for name, layer in layers.items()]


def _check_tunable(found: ChipAndStudent) -> None:
    """Refuse a chip without registers; a chip whose agent has not registered is asked later."""
    chip = found.chip
    if found.passes > 1:
        message = "registers cannot be tuned under a network that is placed in several passes"
        raise InvalidFieldsError(FieldProblem("/passes_max", message))
    if chip.info and chip.backend != "simulated" and chip.info.get("tuning") is None:
        message = "this chip has no registers to tune, or its driver does not reach them"
        raise InvalidFieldsError(FieldProblem("/chip_id", message))


def _check_registers(session: Session, request: TuneRequest, student: Student) -> None:
    """Registers belong to one chip, and a job keeps those under one network."""
    if request.registers_of is None:
        return
    job = JobRepository(session).get(request.registers_of)
    fits = (job.kind, job.chip_id) == (request.kind, request.chip_id)
    if not fits or job.status != JobStatus.SUCCEEDED or job.teacher_id != student.teacher_id:
        message = "name a tune job of this chip that succeeded, with the same network"
        raise InvalidFieldsError(FieldProblem("/registers_of", message))


def _tuner(chip: "JobChipSession") -> "Tuner":
    from ltl_core.teaching.targets import evenly_spaced_indices
    from ltl_core.tuning.tuner import Tuner, TuningSetup
    from service.jobs.kinds.targets import read_targets

    settings = TuneSettings.model_validate(chip.context.description.request.get("settings") or {})
    targets = read_targets(Split.CALIBRATION, chip.context)
    shown = targets.samples.inputs[evenly_spaced_indices(targets.size, settings.samples)]
    stimulus = chip.student.stimulus(shown)
    return Tuner(
        TuningSetup(chip.backend, chip.student.placement(), chip.codes, stimulus), settings
    )


def _found_before(context: JobContext) -> "dict[str, TunedLayer] | None":
    from ltl_core.tuning.result import from_block

    sha256 = context.description.extra.get("registers_sha256")
    return None if sha256 is None else from_block(context.artifacts.read(sha256))


def _searched(tuner: "Tuner", chip: "JobChipSession") -> "dict[str, TunedLayer]":
    for progress in tuner.steps():
        chip.report(progress)
        _stop_if_cancelled(tuner, chip)
    return tuner.result


def _stop_if_cancelled(tuner: "Tuner", chip: "JobChipSession") -> None:
    if chip.context.link.cancelled():
        tuner.roll_back()
        raise chip.cancelled("cancelled; the registers of before were put back")


def _accuracy(chip: "JobChipSession", before: "Quality", now: "Quality") -> Json:
    """Compare with the codes in force, which may have been learned on the chip as it was."""
    accuracy = chip.golden(now.accuracy) | {"untuned": before.accuracy, "now": now.accuracy}
    return {
        "accuracy": accuracy,
        "rate_error": list(now.rate_error),
        "health": health_by_accuracy(now.accuracy, accuracy["golden"]),
    }


def _layers(tuned: "Mapping[str, TunedLayer]", checks: "Mapping[str, TuningCheck]") -> Json:
    failures = [
        f"{name}: {failure}" for name, check in checks.items() for failure in check.failures
    ]
    return {
        "passed": not failures,
        "failures": failures,
        "layers": {
            name: {
                "before": layer.before._asdict(),
                "after": checks[name].spread._asdict(),
                "not_tuned": layer.success.failed,
                "adc_range": layer.tuning.adc_range.tolist(),  # of each row of tiles
            }
            for name, layer in tuned.items()
        },
    }


def _spread(layer: Mapping[str, Any]) -> str:
    """Say how far the circuits of one layer differed before and differ now."""
    before, after = layer["before"], layer["after"]
    parts = [f"converters {before['adc_lsb']:.1f} to {after['adc_lsb']:.1f} LSB"]
    for what, field in (("thresholds", "threshold"), ("leaks", "leak")):
        if before[field] is not None:
            parts.append(f"{what} {before[field]:.1%} to {after[field]:.1%}")
    if left := sum(layer["not_tuned"].values()):
        parts.append(f"{left} not tuned")
    return ", ".join(parts)


KIND = JobKindSpec(
    name="tune",
    noun="Tuning",
    request=TuneRequest,
    needs_chip=True,
    admit=admit,
    work=tune,
    loads=("ltl_core.tuning.tuner", CHIP_SESSION, TARGETS),
    inputs=inputs,
    store=store,
    outcome=outcome,
    facts=facts,
    memory=measuring_memory,
)
