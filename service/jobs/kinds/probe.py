"""Probe: how far a chip's answers to its fixed stimulus are from those at publication."""

from typing import TYPE_CHECKING, Literal

from sqlalchemy.orm import Session

from ltl_core.progress import Phase, Progress
from service.db.repositories.chips import ChipRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Job
from service.formatting import score_text
from service.jobs.health import DriftThresholds, health_by_accuracy, health_by_score, worse
from service.jobs.kinds.chip_and_student import admit_on_chip
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.spec import CHIP_SESSION, Facts, JobKindSpec, ResultStore
from service.jobs.messages import Ended, JobDescription, Json
from service.schemas.jobs import ChipSubmission
from service.states import ChipHealth, JobStatus

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.calibration.drift import Drift, MeanFingerprint


class ProbeRequest(ChipSubmission):
    """Compare a chip's answers to its fixed stimulus with those at publication; needs no labels."""

    kind: Literal["probe"]


def inputs(session: Session, job: Job) -> Json:
    """Describe the version that was in force when the job started, whoever's student it holds."""
    if job.chip_id is None or job.weights_in_force is None:
        return {}
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    return {
        "student_sha256": StudentRepository(session).get(version.student_id).sha256,
        "in_force_sha256": version.sha256,
        "extra": {"version": version.version, "fingerprint": version.fingerprint},
    }


def probe(context: JobContext) -> Ended:
    """Probe the chip with the codes in force: what stands on it already is not written again."""
    from ltl_core.calibration.chip_session import ChipSession
    from ltl_core.calibration.drift import PROBES, measure_fingerprint
    from service.jobs.kinds.chip_session import JobChipSession

    chip = JobChipSession(context)
    session = ChipSession(chip.backend, chip.student)
    session.place()
    session.write(chip.codes)
    chip.report(Progress(Phase.PLACING, 0, 1, spent=session.spent))
    if context.link.cancelled():
        raise chip.cancelled()
    now = measure_fingerprint(chip.backend, PROBES)
    chip.report(Progress(Phase.PROBING, 1, 1, spent=session.spent))
    answer = {"fingerprint": now.to_json(), "cells": session.spent.cells}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result=_result(now, context.description) | answer,
        chip_state_sha256=chip.saved_chip(),
    )


def store(to: ResultStore, ended: Ended) -> Json:
    """Record the answers in a row of their own, and the chip's health.

    The chip is as bad as its answers say, or as its accuracy said when that was measured.
    """
    result = dict(ended.result or {})
    to.record_fingerprint(result.pop("fingerprint"), result["version"], result["score"])
    health = worse(ChipHealth(result["health"]), _health_by_accuracy(to))
    ChipRepository(to.session).set_health(str(to.job.chip_id), health, to.job.id, to.now)
    return result | {"health": health}


def outcome(result: Json) -> str:
    """Give the drift score and the chip's health."""
    if result.get("score") is None:
        return "the weights in force have no fingerprint to compare with"
    return f"drift score {score_text(result['score'])}, the chip is {result['health']}"


def facts(job: Job) -> Facts:
    """Say how far each layer of the chip has moved."""
    layers = (job.result or {}).get("layers") or ()
    return [(f"Drift of {layer['layer']}", score_text(layer["score"])) for layer in layers]


def _result(now: "MeanFingerprint", description: JobDescription) -> Json:
    """Compare the answers with those at publication; without those there is no score."""
    from ltl_core.calibration.drift import MeanFingerprint, drift_between

    published = description.extra.get("fingerprint")
    shown: Json = {
        "chip_time_s": now.chip_time,
        "version": description.extra.get("version"),
    }
    if published is None:
        return shown | {"score": None, "health": ChipHealth.UNKNOWN, "layers": []}
    found = drift_between(now, MeanFingerprint.from_json(published))
    return shown | _drift(found, description.config.drift)


def _drift(found: "Drift", thresholds: DriftThresholds) -> Json:
    return {
        "score": found.score,
        "health": health_by_score(found.score, thresholds),
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
    loads=("ltl_core.calibration.drift", CHIP_SESSION),
    inputs=inputs,
    store=store,
    outcome=outcome,
    facts=facts,
)
