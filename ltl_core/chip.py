"""The port: what a chip can be asked. Simulator or silicon, the caller cannot tell.

All quantities are in the chip's own units: a weight is an integer code, a column sum is
sum_j code_j * x_j, and thresholds and full scales are given in those code units.
"""

from __future__ import annotations  # the words of the port need no torch, only its tensors do

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ltl_core.errors import NotTunableError
from ltl_core.network.spec import NetworkSpec

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


class Observable(StrEnum):
    """What a chip can show of a layer, from the cheapest to the dearest."""

    COUNTS = "counts"  # spikes a window
    SPIKES = "spikes"  # one bit a step
    WINDOW = "window"  # the spikes, and a second bit a step: |membrane - threshold| < window
    MEMBRANE = "membrane"  # the spikes, and the membrane a step; the only one of a readout


class Register(NamedTuple):
    """The codes that a register takes; zero leaves a circuit as it was made."""

    code_min: int
    code_max: int
    lsb: float


class TuningInfo(NamedTuple):
    """The registers that make a chip's circuits alike, and its test facilities."""

    adc_offset: Register  # lsb in LSB of the converter
    adc_gain: Register  # lsb relative
    adc_range: Register  # lsb in octaves: one code times 2 ** lsb
    threshold: Register  # lsb in parts of the layer's threshold
    leak: Register  # lsb in parts of the nominal time constant; a higher code forgets later
    adc_code_max: int  # converters answer -max to +max
    current_max: float  # of the test current, in parts of the layer's threshold
    current_lsb: float  # likewise


class ChipInfo(NamedTuple):
    """What a chip is."""

    chip_id: str
    model: str
    tile_rows: int
    tile_columns: int
    tiles: int
    weight_code_max: int  # codes run from -max to +max
    trim_code_min: int
    trim_code_max: int
    trim_lsb: float  # of one trim code, as a part of the layer's threshold
    observables: frozenset[Observable]
    time_step: float  # s
    endurance_writes: int | None  # of one cell; None where it is not known
    tuning: TuningInfo | None = None  # None where the chip is no TunableChip


class LayerSettings(NamedTuple):
    """The digital registers of one placed layer. Biases and thresholds are trimmed around these."""

    threshold: float  # code units; of a readout, the unit of its bias trims
    decay: float  # part of the membrane left after one step
    window: float  # half width of the WINDOW flag, code units
    full_scale: float  # largest column sum that the ADC resolves, code units


class Placement(NamedTuple):
    """A network, and how each of its layers is driven."""

    network: NetworkSpec
    layers: Mapping[str, LayerSettings]
    input_full_scale: float  # largest analog input that the DAC resolves, input units


class Stimulus(NamedTuple):
    """Analog values held for `steps` into the first layer, or spikes into a named one."""

    values: Float[Tensor, "*shape"]  # [batch, *input], or [time, batch, *input of the layer]
    steps: int
    layer: str | None = None


class LayerRecording(NamedTuple):
    """What was seen of one layer. What was not asked for, or cannot be had, is None.

    A readout integrates its column sums and biases without leak and without firing; its
    `membrane` is that running sum after every step, in code units, and its counts are None.
    """

    counts: Int[Tensor, "batch *neuron"] | None = None
    spikes: Bool[Tensor, "time batch *neuron"] | None = None
    window: Bool[Tensor, "time batch *neuron"] | None = None
    membrane: Float[Tensor, "time batch *neuron"] | None = None


class Recording(NamedTuple):
    """The answer to a stimulus."""

    layers: Mapping[str, LayerRecording]
    chip_time: float  # s, when the last step ended


class WriteReport(NamedTuple):
    """What programming cost."""

    cells: int  # differential pairs whose code changed
    pulses: int
    failed: Bool[Tensor, "column row"]  # cells that did not come within tolerance


class LayerCodes(NamedTuple):
    """What a chip is given of one layer: weights, and the trims of each column."""

    weight: Int[Tensor, "column row"]
    bias: Int[Tensor, " column"]
    threshold: Int[Tensor, " column"]


class Fingerprint(NamedTuple):
    """The chip's answer to its fixed stimulus: the mean rate of every column, layer by layer."""

    rates: Mapping[str, Float[Tensor, " _column"]]
    chip_time: float  # s


class Tuning(NamedTuple):
    """Register codes of one placed layer. Of a readout, `threshold` and `leak` do nothing."""

    adc_offset: Int[Tensor, "tile column"]  # one converter for each column of each row of tiles
    adc_gain: Int[Tensor, "tile column"]
    threshold: Int[Tensor, " column"]
    leak: Int[Tensor, " column"]
    adc_range: int  # of the whole layer: its full scale times 2 ** (code * lsb)


@runtime_checkable
class ChipBackend(Protocol):
    """One chip on one bench.

    Calls block. Every method raises ChipUnavailableError if the bench does not answer.
    """

    @property
    def info(self) -> ChipInfo: ...

    def place(self, placement: Placement) -> None:
        """Lay the layers on tiles and set their registers; codes and trims start at zero.

        Placing what already stands there changes nothing. Raises CapacityError and
        UnsupportedLayerError before anything is changed.
        """
        ...

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells whose code changed.

        A row is one element of `weight[column].flatten()`. Raises CodeRangeError before anything
        is written.
        """
        ...

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the digital registers of each column; no cell wears. Raises CodeRangeError.

        One threshold code raises the threshold, one bias code adds to every step's sum,
        `trim_lsb * LayerSettings.threshold`.
        """
        ...

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Play the stimulus; return what was asked of each layer."""
        ...

    def probe(self) -> Fingerprint:
        """The answer to the chip's fixed stimulus."""
        ...

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for so long, on its own clock."""
        ...

    def now(self) -> float:
        """The chip's clock, seconds."""
        ...


@runtime_checkable
class BulkWriter(Protocol):
    """What a backend may have besides, where every call costs: many layers written by one."""

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """`program` and `trim` each layer in this order; raises what they raise, at that layer."""
        ...


@runtime_checkable
class StreamingBackend(Protocol):
    """What a backend may have besides, where answers take time: a run told layer by layer."""

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """`run`, each layer as soon as it is known, in the order of the network.

        The run has ended when the iterator has. Raises what `run` raises, at any layer.
        """
        ...


@runtime_checkable
class TunableChip(Protocol):
    """The rest of the port: registers that make a chip's circuits alike, and tests to set them by.

    The registers belong to the circuits, so they stay whatever network is placed; only the range
    of a layer goes back to nominal when another network is. All tests take time on the chip's
    clock, and all of them answer with the registers in force.
    """

    def tuning(self, layer: str) -> Tuning:
        """What stands in the registers under a layer."""
        ...

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set them. Raises CodeRangeError or LayerShapeError before anything is set."""
        ...

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Codes of every converter on the reference current, `level` parts of its full scale."""
        ...

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Spike counts of neurons on the test current, in place of the columns and of the biases.

        Parts of the layer's threshold, step by step, from a membrane at rest; threshold trims act.
        """
        ...

    def clipped(self, stimulus: Stimulus) -> Mapping[str, float]:
        """Play the stimulus; of each layer that it reaches, the part of the conversions at an end.

        A conversion counts as clipped where its code is the largest or the smallest there is.
        """
        ...


def write_layers(chip: ChipBackend, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
    """Weights and trims of these layers, in this order."""
    return chip.write(codes) if isinstance(chip, BulkWriter) else write_one_by_one(chip, codes)


def write_one_by_one(
    chip: ChipBackend, codes: Mapping[str, LayerCodes]
) -> Mapping[str, WriteReport]:
    """Two calls a layer."""
    reports = {}
    for layer, code in codes.items():
        reports[layer] = chip.program(layer, code.weight)
        chip.trim(layer, code.threshold, code.bias)
    return reports


def run_by_layer(
    chip: ChipBackend, stimulus: Stimulus, record: Mapping[str, Observable]
) -> Iterator[tuple[str, LayerRecording]]:
    """Layer after layer, in the order of the network, which is that of `record`."""
    if isinstance(chip, StreamingBackend):
        return chip.iter_layers(stimulus, record)
    shown = chip.run(stimulus, record).layers
    return ((layer, shown[layer]) for layer in record)


def tunable(chip: ChipBackend) -> TunableChip:
    """The chip with its registers for tuning. Raises NotTunableError."""
    if chip.info.tuning is None or not isinstance(chip, TunableChip):
        raise NotTunableError(chip.info.chip_id)
    return chip
