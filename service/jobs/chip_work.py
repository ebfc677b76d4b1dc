"""Work with a chip: calibrate it, measure it."""

import time
from collections.abc import Mapping

from ltl_core.calibrate import Calibration, CalibrationResult, Checkpoint, EndedBy
from ltl_core.chip import ChipBackend
from ltl_core.driver import Driver
from ltl_core.evaluate import Quality
from ltl_core.progress import Phase, Progress
from ltl_core.settings import CalibrationSettings
from ltl_core.student import LayerCodes, Student
from service.bench.leased import LeasedBackend
from service.bench.registry import open_chip, save_chip
from service.jobs.messages import ChipRef, Ended, JobDescription, Json
from service.jobs.outcome import cancelled
from service.jobs.software_work import as_json, read_targets
from service.jobs.workbench import Workbench
from service.states import ChipHealth, JobStatus, Split

_CHECKPOINT_INTERVAL = 2.0  # s
_GOOD = 0.02  # accuracy that a good chip may lack of the golden student's
_DRIFTING = 0.10  # and one that is worth calibrating; beyond, it is bad


def calibrate(description: JobDescription, workbench: Workbench) -> Ended:
    """Bring the chip to what the golden student does, and keep the better codes."""
    bench = Bench(description, workbench)
    calibration = bench.calibration()
    for progress in calibration.steps():
        bench.tell(progress)
        if workbench.link.cancelled():
            bench.put_back(calibration)
        bench.after_step(calibration, progress)
    return bench.finished(calibration.result)


def evaluate(description: JobDescription, workbench: Workbench) -> Ended:
    """Measure the chip with the codes in force, or with the student's own if it has none."""
    bench = Bench(description, workbench)
    driver = Driver(bench.backend, bench.student)
    driver.place()
    driver.write(bench.start or bench.student.codes, free=True)
    bench.tell(Progress(Phase.PLACING, 0, 1))
    if workbench.link.cancelled():
        raise cancelled("cancelled", chip_state_sha256=bench.saved_chip())
    quality = driver.measure(read_targets(Split.TEST, description, workbench))
    bench.tell(Progress(Phase.AFTER, 1, 1, quality.accuracy, quality.rate_error, driver.spent))
    return bench.measured(quality)


class Bench:
    """One chip under its lease with a student to stand on it, for the length of one job."""

    def __init__(self, description: JobDescription, workbench: Workbench) -> None:
        self._description, self._workbench = description, workbench
        self._began = time.monotonic() - description.elapsed_s
        self._kept_at = time.monotonic()
        chip = _chip(description)
        self._chip = open_chip(chip, workbench.chip_backends, workbench.artifacts)
        self.backend: ChipBackend = LeasedBackend(self._chip, chip.token, workbench.link.lease_held)
        self.student = _student(description, workbench)
        self.start = _in_force(description, workbench)
        self.settings = CalibrationSettings.model_validate(
            description.request.get("settings") or {}
        )

    def calibration(self) -> Calibration:
        """From the start, or from where the attempt before left off."""
        sha256 = self._description.checkpoint_sha256
        kept = None if sha256 is None else self._workbench.artifacts.read(sha256)
        return Calibration(
            self.backend,
            self.student,
            read_targets(Split.CALIBRATION, self._description, self._workbench),
            read_targets(Split.TEST, self._description, self._workbench),
            self.settings,
            start=self.start,
            checkpoint=None if kept is None else Checkpoint.from_block(kept),
        )

    def tell(self, progress: Progress) -> None:
        """Pass a step on, with the seconds that all attempts took."""
        told, spent = as_json(progress)
        self._workbench.progress(told, spent | {"seconds": self._seconds()})

    def put_back(self, calibration: Calibration) -> None:
        """Cancelled: the codes of before stand on the chip again. Raises CancelledWorkError."""
        calibration.roll_back()
        raise cancelled(
            "cancelled; the codes of before were put back", chip_state_sha256=self.saved_chip()
        )

    def after_step(self, calibration: Calibration, progress: Progress) -> None:
        """Keep a checkpoint now and then, and mind the budget of seconds."""
        limit = self.settings.budget.seconds
        if limit is not None and self._seconds() >= limit:
            calibration.stop(EndedBy.SECONDS)
        due = time.monotonic() - self._kept_at >= _CHECKPOINT_INTERVAL
        learning = progress.phase in (Phase.BEFORE, Phase.CALIBRATING)
        if learning and (due or progress.phase is Phase.BEFORE):
            block = calibration.checkpoint().to_block()
            self._workbench.checkpoint(block, progress.step, self.saved_chip())
            self._kept_at = time.monotonic()

    def saved_chip(self) -> str | None:
        """Keep the devices of a chip that lives in software."""
        return save_chip(self._chip, self._workbench.artifacts)

    def finished(self, found: CalibrationResult) -> Ended:
        """What a calibration came to. Codes that are not better are not published."""
        return Ended(
            status=JobStatus.SUCCEEDED,
            result=self._result(found),
            blocks=self._weights(found) if found.improved else {},
            chip_state_sha256=self.saved_chip(),
        )

    def measured(self, quality: Quality) -> Ended:
        """What an evaluation came to."""
        accuracy = self._golden(quality.accuracy) | {"now": quality.accuracy}
        return Ended(
            status=JobStatus.SUCCEEDED,
            result={
                "accuracy": accuracy,
                "rate_error": list(quality.rate_error),
                "health": health_of(quality.accuracy, accuracy["golden"]),
                "chip_time_s": self.backend.now(),
            },
            chip_state_sha256=self.saved_chip(),
        )

    def _result(self, found: CalibrationResult) -> Json:
        before, after = found.before.test, found.after.test
        accuracy = self._golden(found.golden.accuracy) | {
            "before": before.accuracy,
            "after": after.accuracy,
        }
        fingerprint = self.backend.probe()
        return {
            "accuracy": accuracy,
            "recovered_fraction": recovered(accuracy),
            "rate_error": {"before": list(before.rate_error), "after": list(after.rate_error)},
            "ended_by": found.ended_by,
            "published": found.improved,
            "rule": self.settings.rule,
            "observable": self.settings.observable,
            "health": health_of(after.accuracy, accuracy["golden"]),
            "chip_time_s": self.backend.now(),
            "fingerprint": {
                "rates": {name: rates.tolist() for name, rates in fingerprint.rates.items()},
                "chip_time_s": fingerprint.chip_time,
            },
            "spent": found.spent._asdict() | {"seconds": self._seconds()},
        }

    def _weights(self, found: CalibrationResult) -> dict[str, str]:
        calibrated = self.student.with_codes(found.codes).to_block()
        return {"weights": self._workbench.artifacts.put(calibrated)}

    def _golden(self, otherwise: float) -> dict[str, float]:
        """Of teacher and golden student, as they were found when the student was trained."""
        return {"golden": otherwise} | dict(self._description.accuracy or {})

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)


def health_of(accuracy: float, golden: float) -> ChipHealth:
    """How far the chip is from the golden student, in words."""
    lacking = golden - accuracy
    if lacking <= _GOOD:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if lacking <= _DRIFTING else ChipHealth.BAD


def recovered(accuracy: dict[str, float]) -> float | None:
    """(after - before) / (golden - before); None where nothing was lost."""
    lost = accuracy["golden"] - accuracy["before"]
    return None if lost <= 0 else (accuracy["after"] - accuracy["before"]) / lost


def _chip(description: JobDescription) -> ChipRef:
    if description.chip is None:
        raise ValueError(f"A job of kind {description.kind} needs a chip.")
    return description.chip


def _student(description: JobDescription, workbench: Workbench) -> Student:
    """The golden student."""
    if description.student_sha256 is None:
        raise ValueError(f"A job of kind {description.kind} needs a student.")
    return Student.from_block(workbench.artifacts.read(description.student_sha256))


def _in_force(description: JobDescription, workbench: Workbench) -> Mapping[str, LayerCodes] | None:
    """The codes of the version that is in force on this chip; None if it has none."""
    if description.in_force_sha256 is None:
        return None
    return Student.from_block(workbench.artifacts.read(description.in_force_sha256)).codes
