"""Probe a chip: its answers to the fixed stimulus, and how far they are from publication."""

from typing import Any

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift import PROBES, Drift, MeanFingerprint, drift, read_fingerprint
from ltl_core.progress import Phase, Progress
from service.jobs.health import DriftThresholds, health_by_score
from service.jobs.kinds.chip_session import ChipBench
from service.jobs.kinds.context import Workbench
from service.jobs.messages import Ended, JobDescription, Json
from service.states import ChipHealth, JobStatus


def probe(description: JobDescription, workbench: Workbench) -> Ended:
    """With the codes in force: what stands on the chip already is not written again."""
    bench = ChipBench(description, workbench)
    session = ChipSession(bench.backend, bench.student)
    session.place()
    session.write(bench.codes)
    bench.tell(Progress(Phase.PLACING, 0, 1, spent=session.spent))
    if workbench.link.cancelled():
        raise bench.cancelled()
    now = read_fingerprint(bench.backend, PROBES)
    bench.tell(Progress(Phase.PROBING, 1, 1, spent=session.spent))
    told = {"fingerprint": now.to_json(), "cells": session.spent.cells}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result=_result(now, description) | told,
        chip_state_sha256=bench.saved_chip(),
    )


def _result(now: MeanFingerprint, description: JobDescription) -> Json:
    """Without a fingerprint of publication there is no score."""
    shown: Json = {"chip_time_s": now.chip_time, "version": description.version_in_force}
    if description.fingerprint is None:
        return shown | {"score": None, "health": ChipHealth.UNKNOWN, "layers": []}
    found = drift(now, MeanFingerprint.from_json(description.fingerprint))
    return shown | _told(found, description.house.drift)


def _told(found: Drift, thresholds: DriftThresholds) -> dict[str, Any]:
    return {
        "score": found.score,
        "health": health_by_score(found.score, thresholds),
        "layers": [layer._asdict() for layer in found.layers],
    }
