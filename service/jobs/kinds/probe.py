"""Probe: how far a chip's answers to its fixed stimulus are from those at publication."""

from typing import TYPE_CHECKING, Literal

from sqlalchemy.orm import Session

from ltl_core.progress import Phase, Progress
from service.db.repositories.chips import ChipRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Job
from service.formatting import loss_text, score_text
from service.jobs.health import health_by_accuracy, health_by_prediction, worse
from service.jobs.kinds.chip_and_student import admit_on_chip
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.needed_memory import measuring_memory
from service.jobs.kinds.predicted_loss import OBSERVED, predict, prediction_json
from service.jobs.kinds.shelf_life import ClockReading, update_validity
from service.jobs.kinds.spec import CHIP_SESSION, TARGETS, Facts, JobKindSpec, ResultStore
from service.jobs.kinds.weight_map import WEIGHT_MAP, read_weight_map
from service.jobs.messages import Ended, Json
from service.schemas.jobs import ChipSubmission
from service.states import ChipHealth, JobStatus

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.calibration.drift import MeanFingerprint
    from service.jobs.kinds.chip_session import JobChipSession


class ProbeRequest(ChipSubmission):
    """Compare a chip's answers to fixed stimuli with those at publication; needs no labels."""

    kind: Literal["probe"]


def inputs(session: Session, job: Job) -> Json:
    """Describe the version that was in force when the job started, whoever's student it holds."""
    if job.chip_id is None or job.weights_in_force is None:
        return {}
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    student = StudentRepository(session).get(version.student_id)
    summary = TargetSetRepository(session).get(version.target_set_id).summary or {}
    return {
        "student_sha256": student.sha256,
        "in_force_sha256": version.sha256,
        "targets": summary.get("blocks", {}),
        "extra": {
            "version": version.version,
            "fingerprint": version.fingerprint,
            "has_loss_curve": student.loss_curve is not None,
        },
    }


def probe(context: JobContext) -> Ended:
    """Probe the chip with the codes in force: what stands on it already is not written again."""
    from service.jobs.kinds.chip_session import JobChipSession

    chip = JobChipSession(context)
    session = chip.prepared(free=False)
    chip.report(Progress(Phase.PLACING, 0, 1, spent=session.spent))
    if context.link.cancelled():
        raise chip.cancelled()
    result = _measured(chip)
    chip.report(Progress(Phase.PROBING, 1, 1, spent=session.spent))
    return Ended(
        status=JobStatus.SUCCEEDED,
        result=result | {"cells": session.spent.cells} | chip.surroundings(),
        chip_state_sha256=chip.saved_chip(),
    )


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the answers in a row of their own, and the chip's health.

    The chip is as bad as its answers say, or as its accuracy said when that was measured.
    """
    result = dict(ended.result or {})
    answer, curve = result.pop("fingerprint"), result.pop("loss_curve", None)
    rate = result.pop("clock_rate", None)
    version = WeightRepository(to.session).get(str(to.job.chip_id), result["version"])
    if curve is not None:
        StudentRepository(to.session).keep_loss_curve(version.student_id, curve)
    prediction = predict(to.session, version, result["score"], answer)
    shown = prediction_json(prediction)
    to.record_fingerprint(answer, version.version, result["score"], shown)
    by_answers = ChipHealth.UNKNOWN if prediction is None else health_by_prediction(prediction)
    health = worse(by_answers, _health_by_accuracy(to))
    ChipRepository(to.session).set_health(str(to.job.chip_id), health, to.job.id, to.now)
    reading = ClockReading(float(answer["chip_time_s"]), to.now)
    validity = update_validity(to.session, str(to.job.chip_id), reading, rate)
    return result | {"predicted_loss": shown, "health": health, "validity": validity}


def outcome(result: Json) -> str:
    """Give the predicted loss, the drift score and the chip's health."""
    if result.get("score") is None:
        return "the weights in force have no fingerprint to compare with"
    loss = result.get("predicted_loss")
    words = [] if loss is None else [loss_text(loss)]
    words += [f"drift score {score_text(result['score'])}", f"the chip is {result['health']}"]
    return ", ".join(words)


def facts(job: Job) -> Facts:
    """Say how far each layer of the chip has moved."""
    layers = (job.result or {}).get("layers") or ()
    return [(f"Drift of {layer['layer']}", score_text(layer["score"])) for layer in layers]


def _measured(chip: "JobChipSession") -> Json:
    """Ask the chip, and compare its answers with those at publication."""
    from ltl_core.calibration.drift import PROBES, measure_fingerprint
    from ltl_core.calibration.loss_curve import loss_curve
    from ltl_core.calibration.watch import observe_loss
    from service.jobs.kinds.targets import read_watched

    extra, student = chip.context.description.extra, chip.student
    now = measure_fingerprint(chip.backend, PROBES)
    watched = read_watched(student, chip.context)
    observed = observe_loss(chip.backend, student, watched)
    answer = now.to_json() | {
        OBSERVED: observed._asdict(),
        WEIGHT_MAP: read_weight_map(chip, chip.codes, now.chip_time),
    }
    result = _drift(now, extra) | {"fingerprint": answer}
    if extra.get("has_loss_curve"):
        return result
    return result | {"loss_curve": loss_curve(student, watched).to_json()}


def _drift(now: "MeanFingerprint", extra: Json) -> Json:
    """Return how far the answers are from those at publication; without those there is no score."""
    from ltl_core.calibration.drift import MeanFingerprint, drift_between

    shown: Json = {"chip_time_s": now.chip_time, "version": extra.get("version")}
    published = extra.get("fingerprint")
    if published is None:
        return shown | {"score": None, "layers": []}
    found = drift_between(now, MeanFingerprint.from_json(published))
    return shown | {
        "score": found.score,
        "layers": [layer._asdict() for layer in found.layers],
    }


def _health_by_accuracy(to: ResultStore) -> ChipHealth:
    chip = ChipRepository(to.session).get(str(to.job.chip_id))
    golden = StudentRepository(to.session).get(str(to.job.student_id)).accuracy["golden"]
    if chip.accuracy is None:
        return ChipHealth.UNKNOWN
    return health_by_accuracy(chip.accuracy, float(golden))


KIND = JobKindSpec(
    name="probe",
    noun="Probe",
    request=ProbeRequest,
    needs_chip=True,
    admit=admit_on_chip,
    work=probe,
    loads=(
        "ltl_core.calibration.drift",
        "ltl_core.calibration.loss_curve",
        "ltl_core.calibration.weight_map",
        CHIP_SESSION,
        TARGETS,
    ),
    inputs=inputs,
    store=store,
    outcome=outcome,
    facts=facts,
    memory=measuring_memory,
)
