"""The port: what a chip can be asked. Simulator or silicon, the caller cannot tell.

All quantities are in the chip's own units: a weight is an integer code, a column sum is
sum_j code_j * x_j, and thresholds and full scales are given in those code units.
"""

from __future__ import annotations  # the words of the port need no torch, only its tensors do

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ltl_core.network import NetworkSpec

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


class Observable(StrEnum):
    """What a chip can show of a layer, from the cheapest to the dearest."""

    COUNTS = "counts"  # spikes a window
    SPIKES = "spikes"  # one bit a step
    WINDOW = "window"  # the spikes, and a second bit a step: |membrane - threshold| < window
    MEMBRANE = "membrane"  # the spikes, and the membrane a step; the only one of a readout


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


class Fingerprint(NamedTuple):
    """The chip's answer to its fixed stimulus: the mean rate of every column, layer by layer."""

    rates: Mapping[str, Float[Tensor, " column"]]
    chip_time: float  # s


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
