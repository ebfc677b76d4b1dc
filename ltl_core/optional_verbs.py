"""Verbs that a chip may lack: each protocol is found by its methods, and has a fallback or error.

`ltl_core/chip.py` holds the verbs of every chip, and the recipe for a new one.
"""

from __future__ import annotations  # the words of the port need no torch, only its tensors do

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ltl_core.chip import (
    ChipBackend,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    SideWeights,
    Stimulus,
    Tuning,
    TuningInfo,
    WriteReport,
)
from ltl_core.errors import CodeRangeError, NoSideWeightsError, NotTunableError, SettingError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@runtime_checkable
class BulkWriter(Protocol):
    """Writes many layers in one call, for a chip where every call has its cost.

    Without it, `write_layers` calls `program` and `trim` for each layer.
    """

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """Program and trim the layers in this order, and return a report for each.

        Raises what `program` and `trim` raise; the layers before the one at fault are written.
        """
        ...


@runtime_checkable
class StreamingBackend(Protocol):
    """Returns the recording of a run layer by layer, for a chip where answers take time.

    Without it, `run_by_layer` waits for `run`.
    """

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Present the stimulus as `run` does, and yield each layer as soon as it is known.

        Layers come in the order of the network. The run has ended when the iterator has. Raises
        what `run` raises, at any layer.
        """
        ...


@runtime_checkable
class ProbingChip(Protocol):
    """Answers a stimulus of its own, such as one of a test circuit or one that it keeps.

    Without it, `probe_chip` presents a fixed stimulus with `run`.
    """

    def probe(self) -> Fingerprint:
        """Present the chip's own fixed stimulus, and return the mean rate of every column.

        The stimulus never changes while a network is placed, so that two fingerprints differ by
        noise and drift alone. The rate of a readout's column is its sum a step, as a fraction of
        `LayerSettings.threshold`. Raises a ChipError if nothing is placed.
        """
        ...


class Written(NamedTuple):
    """What runs have written."""

    cells: int = 0  # differential pairs whose code changed
    pulses: int = 0  # programming pulses, of all devices


@runtime_checkable
class RewritingChip(Protocol):
    """Writes cells when it runs, as a chip does that holds a network part by part."""

    def written(self) -> Written:
        """Return what the runs have written since the chip was opened."""
        ...


@runtime_checkable
class Thermometer(Protocol):
    """Knows its own temperature. Without it, `temperature_of` returns None."""

    def temperature(self) -> float | None:
        """Return the temperature of the chip now, K; None if it cannot be read now."""
        ...


@runtime_checkable
class TunableChip(Protocol):
    """Has registers that make a chip's circuits alike, and test circuits to find their codes.

    The registers belong to the circuits: they keep their codes whatever network is placed. Only
    `adc_range` and `readout_gain` go back to zero when another network is placed. Every test takes
    time on the chip's clock and sees the registers in force. `ChipInfo.tuning` gives the ranges.
    Every method raises what `ChipBackend` says of all its methods, and a ChipError if the layer is
    not placed.
    """

    def tuning(self, layer: str) -> Tuning:
        """Return the codes of the registers under a layer."""
        ...

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set the registers under a layer.

        Raises CodeRangeError for a code that a register does not take, or for one other than zero
        if the chip lacks the register; LayerShapeError for codes of another shape or type; and
        SettingError for ranges that differ between rows of tiles if the chip has one for the layer
        (`TuningInfo.range_by_tile`); each before anything is set.
        """
        ...

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Convert the reference current `repeats` times, and return the code of every converter.

        `level` is a fraction of the full scale, from -1 to 1. Raises SettingError for another one,
        and for fewer repeats than one.
        """
        ...

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Drive the neurons with the test current alone, and return their spike counts.

        `current` is a multiple of the layer's threshold for each step, not above `current_max`; it
        takes the place of column sums and biases. Each repeat starts from a membrane at zero, and
        threshold trims act. Raises LayerShapeError for a current of another shape, and SettingError
        for one that is too large, for a readout, and for fewer repeats than one.
        """
        ...

    def clipped(self, stimulus: Stimulus) -> Mapping[str, Float[Tensor, " tile"]]:
        """Present the stimulus and return, for each layer reached, the fraction of clipped codes.

        There is one fraction for each row of tiles, or a single one for the layer if the chip has
        one range for the layer. A conversion is clipped if its code is the largest or the smallest
        of the ADC. Raises what `run` raises of a stimulus.
        """
        ...


@runtime_checkable
class SideWeightedChip(Protocol):
    """Has a digital multiply-accumulate beside the array of each layer, for weights of low rank.

    At every step it adds what `SideWeights` says to the column sums, behind the converters: an
    adapter of low rank (LoRA, Hu et al. 2021, arXiv:2106.09685, eq. 3), which wears no cell and
    does not drift. Each group of a convolution plays its own rows into the same `down`. Tests of
    circuits and gains of the readout do not act on it. `ChipInfo.side_rank` gives the largest rank.
    """

    def set_side(self, layer: str, weights: SideWeights | None) -> None:
        """Set the side weights of a layer; None takes them away, as placing another network does.

        Raises LayerShapeError for weights of another shape or type, CodeRangeError for a code
        beyond +-127, and SettingError for a rank of zero or above `side_rank` and for a scale that
        is not finite; each before anything is set. Raises a ChipError if the layer is not placed.
        """
        ...


def temperature_of(chip: ChipBackend) -> float | None:
    """Return the temperature of a chip, K; None if it has none. Raises what the chip raises."""
    return chip.temperature() if isinstance(chip, Thermometer) else None


def written_in_runs(chip: ChipBackend) -> Written:
    """Return what the runs of a chip have written so far; nothing where runs write nothing."""
    return chip.written() if isinstance(chip, RewritingChip) else Written()


def write_layers(chip: ChipBackend, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
    """Write weights and trims of these layers, in one call if the chip can.

    Raises what `program` and `trim` raise; the layers before the one at fault are written.
    """
    return chip.write(codes) if isinstance(chip, BulkWriter) else write_one_by_one(chip, codes)


def write_one_by_one(
    chip: ChipBackend, codes: Mapping[str, LayerCodes]
) -> Mapping[str, WriteReport]:
    """Write weights and trims of these layers with two calls for each.

    Raises what `program` and `trim` raise; the layers before the one at fault are written.
    """
    reports = {}
    for layer, code in codes.items():
        reports[layer] = chip.program(layer, code.weight)
        chip.trim(layer, code.threshold, code.bias)
    return reports


def run_by_layer(
    chip: ChipBackend, stimulus: Stimulus, record: Mapping[str, Observable]
) -> Iterator[tuple[str, LayerRecording]]:
    """Yield the recording of each layer, as soon as it is known if the chip can stream.

    Layers come in the order of the network, which `record` has to follow. Raises what `run` raises.
    """
    if isinstance(chip, StreamingBackend):
        return chip.iter_layers(stimulus, record)
    recorded = chip.run(stimulus, record).layers
    return ((layer, recorded[layer]) for layer in record)


def tunable(chip: ChipBackend) -> TunableChip:
    """Return the chip as one with registers to tune. Raises NotTunableError if it has none."""
    if chip.info.tuning is None or not isinstance(chip, TunableChip):
        raise NotTunableError(chip.info.chip_id)
    return chip


def side_weighted(chip: ChipBackend) -> SideWeightedChip:
    """Return the chip as one with side weights. Raises NoSideWeightsError if it has none."""
    if not chip.info.side_rank or not isinstance(chip, SideWeightedChip):
        raise NoSideWeightsError(chip.info.chip_id)
    return chip


def check_registers(layer: str, tuning: Tuning, info: TuningInfo) -> None:
    """Check that a chip is given no code of a register that it lacks.

    Raises CodeRangeError for a gain of the readout, and SettingError for several ranges of a layer.
    """
    if info.readout_gain is None and tuning.readout_gain:
        raise CodeRangeError(layer, "readout_gain", 0, 0)
    codes = tuning.adc_range
    if not info.range_by_tile and codes.numel() and codes.min() != codes.max():
        raise SettingError(
            f"The converters of this chip have one range for the whole layer '{layer}': give all "
            "rows of tiles the same code."
        )
