"""Work with a chip: calibrate it, measure it."""

import time

from ltl_core.calibration.drift import read_fingerprint
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult, Checkpoint, EndedBy
from ltl_core.progress import Phase, Progress
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import Quality
from service.jobs.health import health_by_accuracy
from service.jobs.kinds.chip_session import ChipBench
from service.jobs.kinds.context import Workbench
from service.jobs.kinds.software_work import read_targets
from service.jobs.messages import Ended, JobDescription, Json
from service.states import JobStatus, Split

_CHECKPOINT_INTERVAL = 2.0  # s


def calibrate(description: JobDescription, workbench: Workbench) -> Ended:
    """Bring the chip to what the golden student does, and keep the better codes."""
    bench = CalibrationBench(description, workbench)
    calibration = bench.calibration()
    for progress in calibration.steps():
        bench.tell(progress)
        if workbench.link.cancelled():
            bench.put_back(calibration)
        bench.after_step(calibration, progress)
    return bench.finished(calibration.result)


def evaluate(description: JobDescription, workbench: Workbench) -> Ended:
    """Measure the chip with the codes in force, or with the student's own if it has none."""
    bench = ChipBench(description, workbench)
    session = bench.prepared()
    bench.tell(Progress(Phase.PLACING, 0, 1))
    if workbench.link.cancelled():
        raise bench.cancelled()
    quality = session.measure(read_targets(Split.TEST, description, workbench))
    bench.tell(Progress(Phase.AFTER, 1, 1, quality.accuracy, quality.rate_error, session.spent))
    return _measured(bench, quality)


class CalibrationBench(ChipBench):
    """A bench on which a chip is calibrated."""

    def __init__(self, description: JobDescription, workbench: Workbench) -> None:
        super().__init__(description, workbench)
        self._kept_at = time.monotonic()
        self.settings = CalibrationSettings.model_validate(
            description.request.get("settings") or {}
        )

    def calibration(self) -> Calibration:
        """From the start, or from where the attempt before left off."""
        sha256 = self.description.checkpoint_sha256
        kept = None if sha256 is None else self.workbench.artifacts.read(sha256)
        return Calibration(
            self.backend,
            self.student,
            read_targets(Split.CALIBRATION, self.description, self.workbench),
            read_targets(Split.TEST, self.description, self.workbench),
            self.settings,
            start=self.start,
            checkpoint=None if kept is None else Checkpoint.from_block(kept),
        )

    def put_back(self, calibration: Calibration) -> None:
        """Cancelled: the codes of before stand on the chip again. Raises CancelledWorkError."""
        calibration.roll_back()
        raise self.cancelled("cancelled; the codes of before were put back")

    def after_step(self, calibration: Calibration, progress: Progress) -> None:
        """Keep a checkpoint now and then, and mind the budget of seconds."""
        limit = self.settings.budget.seconds
        if limit is not None and self.seconds() >= limit:
            calibration.stop(EndedBy.SECONDS)
        waited = time.monotonic() - self._kept_at >= _CHECKPOINT_INTERVAL
        due = waited or self.workbench.link.pausing()
        learning = progress.phase in (Phase.BEFORE, Phase.CALIBRATING)
        if learning and (due or progress.phase is Phase.BEFORE):
            block = calibration.checkpoint().to_block()
            self.workbench.checkpoint(block, progress.step, self.saved_chip())
            self._kept_at = time.monotonic()

    def finished(self, found: CalibrationResult) -> Ended:
        """What a calibration came to. Codes that are not better are not published."""
        return Ended(
            status=JobStatus.SUCCEEDED,
            result=self._result(found),
            blocks=self._weights(found) if found.improved else {},
            chip_state_sha256=self.saved_chip(),
        )

    def _result(self, found: CalibrationResult) -> Json:
        before, after = found.before.test, found.after.test
        accuracy = self.golden(found.golden.accuracy) | {
            "before": before.accuracy,
            "after": after.accuracy,
        }
        return {
            "accuracy": accuracy,
            "recovered_fraction": recovered(accuracy),
            "rate_error": {"before": list(before.rate_error), "after": list(after.rate_error)},
            "ended_by": found.ended_by,
            "published": found.improved,
            "rule": self.settings.rule,
            "observable": self.settings.observable,
            "health": health_by_accuracy(after.accuracy, accuracy["golden"]),
            "chip_time_s": self.backend.now(),
            "fingerprint": read_fingerprint(self.backend).to_json(),
            "spent": found.spent._asdict() | {"seconds": self.seconds()},
        }

    def _weights(self, found: CalibrationResult) -> dict[str, str]:
        calibrated = self.student.with_codes(found.codes).to_block()
        return {"weights": self.workbench.artifacts.put(calibrated)}


def _measured(bench: ChipBench, quality: Quality) -> Ended:
    """What an evaluation came to."""
    accuracy = bench.golden(quality.accuracy) | {"now": quality.accuracy}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "accuracy": accuracy,
            "rate_error": list(quality.rate_error),
            "health": health_by_accuracy(quality.accuracy, accuracy["golden"]),
            "chip_time_s": bench.backend.now(),
        },
        chip_state_sha256=bench.saved_chip(),
    )


def recovered(accuracy: dict[str, float]) -> float | None:
    """(after - before) / (golden - before); None where nothing was lost."""
    lost = accuracy["golden"] - accuracy["before"]
    return None if lost <= 0 else (accuracy["after"] - accuracy["before"]) / lost
