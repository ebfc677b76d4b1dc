"""A calibration in the child process: it begins or goes on, keeps checkpoints, and says its result.

`service/jobs/kinds/calibrate.py` is the kind of job.
"""

import time
from functools import cached_property

from ltl_core.calibration.accuracy_test import AccuracyTest
from ltl_core.calibration.by_layer import Codes, outcome_by_layer
from ltl_core.calibration.compensation import CompensationResult
from ltl_core.calibration.drift import MeanFingerprint, measure_fingerprint
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.prediction import Observation
from ltl_core.calibration.result import (
    CalibrationResult,
    Checkpoint,
    EarlierCheckpointError,
    EndedBy,
)
from ltl_core.calibration.stages import StageResult
from ltl_core.calibration.watch import are_watched, observe_loss
from ltl_core.progress import Phase, Progress
from ltl_core.settings import CalibrationSettings, Data, MethodName
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_session import JobChipSession
from service.jobs.kinds.golden_accuracy import KEPT, golden_accuracy
from service.jobs.kinds.last_trims import WAITS
from service.jobs.kinds.predicted_loss import OBSERVED
from service.jobs.kinds.stage_clock import StageClock
from service.jobs.kinds.targets import read_targets, read_watched
from service.jobs.kinds.weight_map import WEIGHT_MAP, read_weight_map
from service.jobs.messages import Ended, Json
from service.states import JobStatus, Split

_CHECKPOINT_INTERVAL = 2.0  # s, at least
_WORK_PER_CHECKPOINT = 20.0  # s of learning for each that a checkpoint takes


class CalibrationAttempt:
    """One attempt at a calibration, in the child process."""

    def __init__(self, chip: JobChipSession) -> None:
        self.chip = chip
        self._context = chip.context
        self._next_checkpoint = time.monotonic() + _CHECKPOINT_INTERVAL
        self._clock = StageClock(chip.seconds())
        self.settings = CalibrationSettings.model_validate(
            self._context.description.request.get("settings") or {}
        )

    def calibration(self) -> Calibration:
        """Begin, or go on from where the attempt before left off."""
        made = self.settings.data is Data.SYNTHETIC or not self.settings.learns
        (golden,) = self._golden.values()
        student = self.chip.student
        return Calibration(
            self.chip.backend,
            student,
            None if made else read_targets(Split.CALIBRATION, self._context),
            AccuracyTest(student, read_targets(Split.TEST, self._context), self.settings, golden),
            self.settings,
            start=self._in_force(),
            checkpoint=self._checkpoint(),
        )

    @cached_property
    def _golden(self) -> Json:
        """Accuracy of the golden student on the samples of this calibration."""
        return golden_accuracy(self._context, self.chip.student, self.settings)

    def _in_force(self) -> InForce | None:
        """Return the version in force with its fingerprint; None if the chip has none."""
        start = self.chip.start
        if start is None:
            return None
        found = self._context.description.extra.get("fingerprint")
        fingerprint = None if found is None else MeanFingerprint.from_json(found)
        return InForce(start.codes, fingerprint, side=start.side)

    def _checkpoint(self) -> Checkpoint | None:
        """Read the checkpoint of the attempt before; None where this version cannot go on."""
        sha256 = self._context.description.checkpoint_sha256
        if sha256 is None:
            return None
        block = self._context.artifacts.read(sha256)
        try:
            kept = Checkpoint.from_block(block)
            self._clock = StageClock.from_block(block, self._clock.last)
            return kept
        except EarlierCheckpointError as error:
            self._context.log(f"calibration: it begins again, the checkpoint is not used: {error}")
            return None

    def put_back(self, calibration: Calibration) -> None:
        """Put the codes of before on the chip again. Raises CancelledWorkError."""
        calibration.roll_back()
        raise self.chip.cancelled("cancelled; the codes of before were put back")

    def after_step(self, calibration: Calibration, progress: Progress) -> None:
        """Store a checkpoint now and then; stop where the budget of seconds is used up."""
        self._mind_seconds(calibration)
        self._clock.follow(calibration.stages_begun, progress.phase, self.chip.seconds())
        began = time.monotonic()
        due = began >= self._next_checkpoint or self._context.link.pausing()
        learning = progress.phase in (Phase.BEFORE, Phase.CALIBRATING)
        if learning and (due or progress.phase is Phase.BEFORE):
            block = calibration.checkpoint().to_block(self._context.owner | self._clock.metadata())
            self._context.checkpoint(block, progress.step, self.chip.saved_chip())
            ended = time.monotonic()
            pause = max(_CHECKPOINT_INTERVAL, _WORK_PER_CHECKPOINT * (ended - began))
            self._next_checkpoint = ended + pause

    def finished(self, found: CalibrationResult) -> Ended:
        """Say what the calibration came to. Codes that are not better are not published."""
        return Ended(
            status=JobStatus.SUCCEEDED,
            result=self._result(found),
            blocks=self._weights(found) if found.is_new_version else {},
            chip_state_sha256=self.chip.saved_chip(),
        )

    def _mind_seconds(self, calibration: Calibration) -> None:
        limit = self.settings.budget.seconds
        if limit is not None and self.chip.seconds() >= limit:
            calibration.stop(EndedBy.SECONDS)

    def _result(self, found: CalibrationResult) -> Json:
        before, after = found.before.test, found.after.test
        (golden,) = self._golden.values()
        accuracy = (self._context.description.accuracy or {}) | {
            "golden": golden,
            "before": before.accuracy,
            "after": after.accuracy,
        }
        return {
            KEPT: self._golden,
            "accuracy": accuracy,
            "recovered_fraction": recovered(accuracy),
            "rate_error": {"before": list(before.rate_error), "after": list(after.rate_error)},
            "layers": self._layers(found),
            "predicted_loss_points": found.after.verification.points,
            "predicted_losses": {
                "before": found.before.verification.points,
                "learned": found.candidate.points,
            },
            "agreement": found.after.verification.agreement,
            "stages": self._stages(found.stages),
            "ended_by": found.ended_by,
            "distinct_samples": found.distinct,
            "drift": _drift(found.compensation),
            "published": found.is_new_version,
            "compensated": found.improved and not found.is_new_version,
            "method": self.settings.method,
            "rule": self._rule(),
            "observable": self.settings.observable,
            "health": health_by_accuracy(after.accuracy, accuracy["golden"]),
            "chip_time_s": self.chip.backend.now(),
            "fingerprint": self._fingerprint(found),
            WEIGHT_MAP: read_weight_map(self.chip, found.codes, self.chip.backend.now()),
            **self.chip.surroundings(),
            "spent": found.spent._asdict() | {"seconds": self.chip.seconds()},
            "failed_cells": found.failed_cells,
        } | self._wait()

    def _wait(self) -> Json:
        """Say how long it takes until the chip is old enough for its last trims."""
        age = self._context.description.request.get("last_trims_after_s")
        return {} if age is None else {WAITS: self.chip.wall_seconds(float(age))}

    def _stages(self, found: tuple[StageResult, ...]) -> list[Json]:
        """Say what each stage brought, and what it cost with its seconds."""
        costs = [stage.cost._asdict() for stage in found]
        timed = zip(found, costs, self._clock.seconds(len(found)), strict=True)
        return [s._asdict() | {"cost": cost | {"seconds": took}} for s, cost, took in timed]

    def _layers(self, found: CalibrationResult) -> list[Json]:
        """Say what became of each layer: its rate error, and how many codes changed."""
        network, codes = self.chip.student.network, Codes(self.chip.codes, found.codes)
        layers = outcome_by_layer(network, codes, found.before.test, found.after.test)
        return [layer._asdict() for layer in layers]

    def _rule(self) -> str:
        """Return what corrected the chip: the rule of the method ltl, or another method."""
        method = self.settings.method
        return self.settings.rule if method is MethodName.LTL else method

    def _fingerprint(self, found: CalibrationResult) -> Json:
        """Measure what later probes will compare with."""
        observed = self._observed(found)
        return measure_fingerprint(self.chip.backend).to_json() | {OBSERVED: observed._asdict()}

    def _observed(self, found: CalibrationResult) -> Observation:
        """Observe the loss on the samples on which the chip is watched, once."""
        if are_watched(self.settings):
            return found.after.verification.observation()
        student = self.chip.student
        return observe_loss(self.chip.backend, student, read_watched(student, self._context))

    def _weights(self, found: CalibrationResult) -> dict[str, str]:
        calibrated = self.chip.student._replace(codes=found.codes, side=found.side).to_block()
        return {"weights": self._context.artifacts.put(calibrated)}


def _drift(found: CompensationResult | None) -> Json | None:
    """Say what the compensation of drift brought: scores, and the gain of each layer."""
    if found is None:
        return None
    return {
        "score_before": found.before.score,
        "score_after": found.after.score,
        "factors": {layer.layer: layer.factor for layer in found.layers},
    }


def recovered(accuracy: dict[str, float]) -> float | None:
    """Return (after - before) / (golden - before); None where nothing was lost."""
    lost = accuracy["golden"] - accuracy["before"]
    return None if lost <= 0 else (accuracy["after"] - accuracy["before"]) / lost
