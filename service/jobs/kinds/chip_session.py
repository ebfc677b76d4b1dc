"""One chip under its lease with a student to stand on it, for the length of one job."""

import time
from collections.abc import Mapping

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.chip import ChipBackend, LayerCodes
from ltl_core.progress import Progress
from ltl_core.student.student import Student
from service.bench.chip_ref import ChipRef
from service.bench.driver.call_times import call_times
from service.bench.leased import LeasedBackend
from service.bench.registry import open_chip, save_chip
from service.bench.wall_time import WallTime
from service.jobs.kinds.context import Workbench
from service.jobs.kinds.outcome import CancelledWorkError, cancelled
from service.jobs.kinds.software_work import as_json
from service.jobs.messages import JobDescription


class ChipBench:
    """What every kind of work with a chip needs."""

    def __init__(self, description: JobDescription, workbench: Workbench) -> None:
        self.description, self.workbench = description, workbench
        self._began = time.monotonic() - description.elapsed_s
        chip = _chip(description)
        self._chip = open_chip(chip, workbench.chip_backends, workbench.artifacts)
        self._wall_time = WallTime(self._chip, chip.seconds_per_second)
        self.backend: ChipBackend = LeasedBackend(self._chip, chip.token, workbench.link.lease_held)
        self.student = _student(description, workbench)
        self.start = _in_force(description, workbench)

    @property
    def codes(self) -> Mapping[str, LayerCodes]:
        """Those in force, or the student's own if the chip has none."""
        return self.start or self.student.codes

    def prepared(self) -> ChipSession:
        """Place the student, with the codes in force; that is not counted as spent."""
        session = ChipSession(self.backend, self.student)
        session.place()
        session.write(self.codes, free=True)
        return session

    def tell(self, progress: Progress) -> None:
        """Pass a step on, with the seconds that all attempts took; the chip has aged as long."""
        self._wall_time.follow()
        told, spent = as_json(progress)
        spent |= {"seconds": self.seconds()}
        self.workbench.progress(told, spent, call_times(self._chip))

    def cancelled(self, reason: str = "cancelled") -> CancelledWorkError:
        """To be raised; the chip is kept as it is."""
        return cancelled(reason, chip_state_sha256=self.saved_chip())

    def saved_chip(self) -> str | None:
        """Keep the devices of a chip that lives in software."""
        self._wall_time.follow()
        return save_chip(self._chip, self.workbench.artifacts)

    def golden(self, otherwise: float) -> dict[str, float]:
        """Of teacher and golden student, as they were found when the student was trained."""
        return {"golden": otherwise} | dict(self.description.accuracy or {})

    def seconds(self) -> float:
        """That all attempts took."""
        return round(time.monotonic() - self._began, 3)


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
