"""The chip of one job: under its lease, with the student to be programmed on it."""

import time
from collections.abc import Mapping

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.chip import ChipBackend, LayerCodes
from ltl_core.optional_verbs import temperature_of
from ltl_core.partitioned.chip import PartitionedChip
from ltl_core.partitioned.plan import check_passes
from ltl_core.progress import Progress
from ltl_core.student.student import Student
from service.bench.chip_ref import ChipRef
from service.bench.driver.call_times import call_times
from service.bench.leased import LeasedBackend
from service.bench.registry import open_chip, save_chip
from service.bench.stored import Stored
from service.bench.true_weights import TransparentChip
from service.bench.wall_time import WallTime
from service.jobs.kinds.context import CancelledWorkError, JobContext, as_json, cancelled
from service.jobs.messages import JobDescription, Json


class JobChipSession:
    """The chip, its lease, the student and the reports of a job with a chip."""

    def __init__(self, context: JobContext) -> None:
        """Open the job's chip.

        Raises ChipUnavailableError, ValueError without a chip, and CapacityError or
        UnsupportedLayerError if passes are allowed but the network cannot be placed in them.
        """
        description = context.description
        self.context = context
        self._began = time.monotonic() - description.elapsed_s
        chip = _chip(description)
        backends = description.config.chip_backends
        locate = context.link.agent_settings
        self._chip = open_chip(chip, backends, context.artifacts, locate)
        self._seconds_per_second = chip.seconds_per_second
        self._wall_time = WallTime(self._chip, chip.seconds_per_second)
        self.backend: ChipBackend = LeasedBackend(self._chip, chip.token, context.link.lease_held)
        self.student = _student(context)
        self._allow_passes(int(description.request.get("passes_max", 1)))
        self.start = _in_force(context)

    def _allow_passes(self, allowed: int) -> None:
        """Place the network in passes if it is larger than the chip, and that is allowed."""
        self.passes = 1
        if allowed > 1:
            self.passes = check_passes(self.student.network, self.backend.info, allowed)
        if self.passes > 1:
            self.backend = PartitionedChip(self.backend)

    @property
    def codes(self) -> Mapping[str, LayerCodes]:
        """The codes in force, or the student's own if the chip has none."""
        return (self.start or self.student).codes

    @property
    def is_in_software(self) -> bool:
        """Whether it is a chip in software, which ages as fast as it is told to."""
        return isinstance(self._chip, Stored)

    @property
    def transparent(self) -> TransparentChip | None:
        """The chip itself if it is in software and lets its cells be seen; else None."""
        return self._chip if isinstance(self._chip, TransparentChip) else None

    def wall_seconds(self, chip_seconds: float) -> float:
        """Return the wall time in which the idle chip ages so long.

        It is zero for a chip in software that ages only when it is told to.
        """
        if not self.is_in_software:
            return chip_seconds
        return chip_seconds / self._seconds_per_second if self._seconds_per_second else 0.0

    def prepared(self, *, free: bool = True) -> ChipSession:
        """Place the student, with codes and side weights in force; `free` is not counted as spent.

        Raises NoSideWeightsError if the version in force has side weights and the chip has not.
        """
        session = ChipSession(self.backend, self.student)
        session.place()
        session.write(self.codes, free=free)
        session.set_side((self.start or self.student).side)
        return session

    def report(self, progress: Progress) -> None:
        """Report a step, with the seconds that all attempts took; the chip has aged as long."""
        self._wall_time.follow()
        shown, spent = as_json(progress)
        spent |= {"seconds": self.seconds()}
        self.context.send_progress(shown, spent, call_times(self._chip))

    def cancelled(self, reason: str = "cancelled") -> CancelledWorkError:
        """Make the error to be raised; the chip is kept as it is."""
        return cancelled(reason, chip_state_sha256=self.saved_chip())

    def saved_chip(self) -> str | None:
        """Store the devices of a simulated chip; return the SHA-256, None for any other chip."""
        self._wall_time.follow()
        return save_chip(self._chip, self.context.artifacts)

    def surroundings(self) -> Json:
        """Return the chip's temperature and the rate of its clock, if known, and the passes.

        The clock of a chip in software runs at the rate that the service sets.
        """
        return {
            "temperature_kelvin": temperature_of(self.backend),
            "clock_rate": self._seconds_per_second if self.is_in_software else None,
            "passes": self.passes,
        }

    def golden(self, otherwise: float) -> dict[str, float]:
        """Return the accuracy of teacher and golden student, as found at the training's end."""
        return {"golden": otherwise} | dict(self.context.description.accuracy or {})

    def seconds(self) -> float:
        """Return the seconds that all attempts took."""
        return round(time.monotonic() - self._began, 3)


def _chip(description: JobDescription) -> ChipRef:
    if description.chip is None:
        raise ValueError(f"A job of kind {description.kind} needs a chip.")
    return description.chip


def _student(context: JobContext) -> Student:
    """Read the golden student."""
    sha256 = context.description.student_sha256
    if sha256 is None:
        raise ValueError(f"A job of kind {context.description.kind} needs a student.")
    return Student.from_block(context.artifacts.read(sha256))


def _in_force(context: JobContext) -> Student | None:
    """Read the student with the codes in force on this chip; None if it has none."""
    sha256 = context.description.in_force_sha256
    return None if sha256 is None else Student.from_block(context.artifacts.read(sha256))
