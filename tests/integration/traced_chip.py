"""A simulated chip that notes who drove it and when, and that can fail as benches do.

Made by its address, as a driver of a lab would be: "tests.integration.traced_chip:make".
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.chip import (
    ChipInfo,
    Fingerprint,
    Observable,
    Placement,
    Recording,
    SideWeights,
    Stimulus,
    Tuning,
    WriteReport,
)
from ltl_core.errors import ChipUnavailableError
from service.bench.registry import make_simulated


class Faults(NamedTuple):
    """After so many runs of one process; None is never."""

    silent_after: int | None = None  # the bench does not answer any more
    deadly_after: int | None = None  # the driver takes its process down
    run_s: float = 0.0  # s that one run takes


class Drive(NamedTuple):
    """One call of one process to one chip."""

    chip_id: str
    pid: int
    began: float  # s, on the machine's monotonic clock
    ended: float
    verb: str


class TracedChip:
    """Passes every verb on."""

    def __init__(self, chip: SimulatedChip, trace: Path, faults: Faults) -> None:
        self._chip, self._trace, self._faults = chip, trace, faults
        self._runs = 0

    @property
    def info(self) -> ChipInfo:
        return self._chip.info

    def place(self, placement: Placement) -> None:
        with self._noted("place"):
            self._chip.place(placement)

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        with self._noted("program"):
            return self._chip.program(layer, codes)

    def trim(self, layer: str, threshold: Tensor, bias: Tensor) -> None:
        self._chip.trim(layer, threshold, bias)

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        with self._noted("run"):
            self._fail_when_due()
            time.sleep(self._faults.run_s)
            return self._chip.run(stimulus, record)

    def probe(self) -> Fingerprint:
        return self._chip.probe()

    def settle(self, seconds: float) -> None:
        self._chip.settle(seconds)

    def now(self) -> float:
        return self._chip.now()

    def temperature(self) -> float:
        return self._chip.temperature()

    def tuning(self, layer: str) -> Tuning:
        return self._chip.tuning(layer)

    def tune(self, layer: str, tuning: Tuning) -> None:
        with self._noted("tune"):
            self._chip.tune(layer, tuning)

    def convert(self, layer: str, level: float, repeats: int) -> Tensor:
        with self._noted("convert"):
            self._fail_when_due()
            time.sleep(self._faults.run_s)
            return self._chip.convert(layer, level, repeats)

    def excite(self, layer: str, current: Tensor, repeats: int) -> Tensor:
        with self._noted("excite"):
            return self._chip.excite(layer, current, repeats)

    def clipped(self, stimulus: Stimulus) -> Mapping[str, Tensor]:
        with self._noted("clipped"):
            return self._chip.clipped(stimulus)

    def set_side(self, layer: str, weights: SideWeights | None) -> None:
        with self._noted("set_side"):
            self._chip.set_side(layer, weights)

    def state(self) -> dict[str, Tensor]:
        return self._chip.state()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._chip.restore(dict(tensors))

    def advance(self, seconds: float) -> None:
        self._chip.advance(seconds)

    def _fail_when_due(self) -> None:
        self._runs += 1
        if self._faults.silent_after is not None and self._runs > self._faults.silent_after:
            raise ChipUnavailableError(self.info.chip_id, "the bench does not answer")
        if self._faults.deadly_after is not None and self._runs > self._faults.deadly_after:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def _noted(self, verb: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            drive = Drive(self.info.chip_id, os.getpid(), began, time.monotonic(), verb)
            with self._trace.open("a") as file:  # one short line: appended whole
                file.write(json.dumps(drive) + "\n")


def make(chip_id: str, settings: Mapping[str, Any]) -> TracedChip:
    """What the registry calls."""
    chip = make_simulated(chip_id, settings)
    assert isinstance(chip, SimulatedChip)
    return TracedChip(chip, Path(settings["trace"]), Faults(**settings.get("faults", {})))


def read_trace(path: Path) -> list[Drive]:
    """All calls so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Drive(*json.loads(line)) for line in lines]
