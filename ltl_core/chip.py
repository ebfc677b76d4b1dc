"""The port of a chip: what it can be asked, and what it answers. Simulated or silicon alike.

All quantities are in the chip's own units: a weight is an integer code, a column sum is
sum_j code_j x_j, and thresholds and full scales are given in those code units. Times are seconds of
the chip's own clock. Matrices are [column, row]: outputs first.

Recipe for a new verb. One that every chip must have is a method of `ChipBackend` here; one that a
chip may lack is a protocol in `ltl_core/optional_verbs.py`, found by its methods, with a function
beside it that does the same by other verbs or raises an error that says what is missing.

| file | what to add |
|---|---|
| `ltl_core/chip.py` or `ltl_core/optional_verbs.py` | the method: shapes, units, what it raises |
| `chip_sim/chip.py` | the simulator's answer; physics goes into a module of its own |
| `service/bench/protocol/verbs.py` | the request, the agent's handler, a line of `VERBS` |
| `service/bench/driver/answers.py` | the answer as a driver reads it, checked |
| `service/bench/driver/http_chip.py` | the call over HTTP; what to do if the agent is older |
| `service/bench/leased.py` | the verb under a lease |
| `tandemcal/backend.py` | the types that a driver needs for it |
| `tandemcal/testing/` | what every chip promises of it; a chip that lacks it is skipped |
| `tests/integration/traced_chip.py` | the verb of the chip that tests record |
| `tests/unit/service/bench/test_leased.py` | a line: no call after the lease was lost |
| `tests/unit/tandemcal/public_api.txt` | the listing: `python -m tests.unit.tandemcal.public_api` |

The name of a verb on the wire never changes afterwards: an agent may be older than the service.
`docs/guides/new-port-verb.md` says more of each step.
"""

from __future__ import annotations  # the words of the port need no torch, only its tensors do

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ltl_core.network.spec import NetworkSpec

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


class Observable(StrEnum):
    """What a chip can record of a layer, from the least data to the most."""

    COUNTS = "counts"  # number of spikes in the time window
    SPIKES = "spikes"  # one bit a step
    WINDOW = "window"  # the spikes, and a second bit a step: |membrane - threshold| < window
    MEMBRANE = "membrane"  # the spikes, and the membrane a step; the only one of a readout


class Register(NamedTuple):
    """The codes that a tuning register takes; code zero leaves a circuit as it was made."""

    code_min: int
    code_max: int
    lsb: float  # what one code changes; `TuningInfo` gives the unit


class TuningInfo(NamedTuple):
    """The registers that make a chip's circuits alike, and the range of its test circuits."""

    adc_offset: Register  # lsb in LSB of the converter
    adc_gain: Register  # lsb as a fraction of the gain
    adc_range: Register  # lsb in octaves: one code scales the full scale by 2 ** lsb
    threshold: Register  # lsb as a fraction of the layer's threshold
    leak: Register  # lsb as a fraction of the nominal time constant; a higher code leaks less
    adc_code_max: int  # converters answer -adc_code_max to +adc_code_max
    current_max: float  # largest test current, as a multiple of the layer's threshold
    current_lsb: float  # step of the test current, as a multiple of the layer's threshold
    range_by_tile: bool = False  # whether each row of tiles has a range of its own
    readout_gain: Register | None = None  # lsb as a fraction of the gain; None if there is none


class ChipInfo(NamedTuple):
    """What a chip is: its identity, its size, and the codes that it takes."""

    chip_id: str
    model: str
    tile_rows: int  # rows of one crossbar tile
    tile_columns: int  # columns of one crossbar tile
    tiles: int  # number of tiles
    weight_code_max: int  # weight codes run from -weight_code_max to +weight_code_max
    trim_code_min: int  # of biases and thresholds
    trim_code_max: int  # both zero if the chip has no trims
    trim_lsb: float  # what one trim code shifts, as a fraction of the layer's threshold
    observables: frozenset[Observable]
    time_step: float  # duration of one step, s
    endurance_writes: int | None  # writes that one cell survives; None if it is not known
    tuning: TuningInfo | None = None  # None if the chip has no registers to tune
    side_rank: int = 0  # largest rank of a layer's side weights; 0 if the chip has none
    threshold_trims: bool = True  # if not, the trims of thresholds are always zero


class LayerSettings(NamedTuple):
    """The digital registers of one placed layer; trims shift biases and thresholds around them."""

    threshold: float  # code units; of a readout, the unit of its bias trims
    decay: float  # fraction of the membrane that is left after one step, 0 to 1
    window: float  # half width of the WINDOW flag, code units
    full_scale: float  # largest column sum that the ADC resolves, code units


class Placement(NamedTuple):
    """A network, and how each of its layers is driven."""

    network: NetworkSpec
    layers: Mapping[str, LayerSettings]
    input_full_scale: float  # largest analog input that the DAC resolves, input units


class Stimulus(NamedTuple):
    """Analog values held for `steps` into the first layer, or spikes into a named layer.

    Analog values have the shape [batch, *input of the network] and are in input units. Spikes have
    the shape [time, batch, *input of the layer], with `steps` as the length of time. Into the first
    layer they may be the events of a sensor, several on a row in one step.
    """

    values: Float[Tensor, "*shape"]  # analog values, or spikes if `layer` is named
    steps: int  # number of time steps, at least one
    layer: str | None = None  # the layer that gets the spikes; None for analog values


class LayerRecording(NamedTuple):
    """What was recorded of one layer. What was not asked for, or does not exist, is None.

    A readout integrates its column sums and biases without leak and without firing. Its `membrane`
    is that running sum after every step, in code units; its counts, spikes and window are None.
    """

    counts: Int[Tensor, "batch *neuron"] | None = None  # spikes in the time window
    spikes: Bool[Tensor, "time batch *neuron"] | None = None
    window: Bool[Tensor, "time batch *neuron"] | None = None  # |membrane - threshold| < window
    membrane: Float[Tensor, "time batch *neuron"] | None = None  # code units, before the reset


class Recording(NamedTuple):
    """The answer to a stimulus."""

    layers: Mapping[str, LayerRecording]
    chip_time: float  # the chip's clock when the last step ended, s


class WriteReport(NamedTuple):
    """What programming a layer cost, and which of its cells failed."""

    cells: int  # differential pairs whose code changed
    pulses: int  # programming pulses, of all devices
    failed: Bool[Tensor, "column row"]  # cells that did not come within tolerance


class LayerCodes(NamedTuple):
    """The codes of one layer: a weight for each cell, two trims for each column."""

    weight: Int[Tensor, "column row"]
    bias: Int[Tensor, " column"]
    threshold: Int[Tensor, " column"]


class Fingerprint(NamedTuple):
    """The chip's answer to its fixed stimulus: the mean rate of every column, layer by layer."""

    # Spikes a step; of a readout, the sum a step as a fraction of `LayerSettings.threshold`.
    rates: Mapping[str, Float[Tensor, " _column"]]
    chip_time: float  # the chip's clock when the last step ended, s


class SideWeights(NamedTuple):
    """Digital weights beside the array of one layer: two matrices of low rank.

    They add (up_scale up) @ ((down_scale down) @ x) to the column sums, code units, where x is what
    the rows play. Codes go from -127 to 127. A rank as large as the smaller side of a layer's
    matrix holds any matrix.
    """

    down: Int[Tensor, "rank row"]
    up: Int[Tensor, "column rank"]
    down_scale: float
    up_scale: float


class Tuning(NamedTuple):
    """The tuning registers under one placed layer; a readout ignores `threshold` and `leak`."""

    adc_offset: Int[Tensor, "tile column"]  # one converter for each column of each row of tiles
    adc_gain: Int[Tensor, "tile column"]
    threshold: Int[Tensor, " column"]
    leak: Int[Tensor, " column"]
    # One for each row of tiles, whose full scale is multiplied by 2 ** (code * lsb).
    adc_range: Int[Tensor, " tile"]
    # The digital sums of a readout's converters are multiplied by 1 + code * lsb; other layers
    # ignore it.
    readout_gain: int = 0

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The registers of which a layer has several, by name."""
        several = self._asdict()
        del several["readout_gain"]
        return several


@runtime_checkable
class ChipBackend(Protocol):
    """One chip, simulated or silicon.

    Calls block until the chip has done what it was asked. Every method raises ChipUnavailableError
    if the chip does not answer. If the caller drives under a lease and has lost it, every method
    but `info` raises LeaseLostError. A method that names a layer raises a ChipError if no such
    layer is placed. No method changes or keeps a tensor that it is given.
    """

    @property
    def info(self) -> ChipInfo:
        """Description of the chip; the same for as long as the backend is open."""
        ...

    def place(self, placement: Placement) -> None:
        """Lay the layers on tiles and set their registers; codes and trims start at zero.

        Placing what is already placed changes nothing. Raises CapacityError if the chip has too few
        tiles, UnsupportedLayerError for a layer that it cannot hold, and SettingError for a
        register value that it cannot take; each before anything is changed.
        """
        ...

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells whose code changed, and verify them if the chip can.

        Row j of a column is element j of `weight[column].flatten()`. Raises CodeRangeError for a
        code beyond +-`weight_code_max` and LayerShapeError for codes of another shape or type; both
        before anything is written. A cell that fails raises nothing; the report names it.
        """
        ...

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the digital trim registers of each column; no cell is written and none wears.

        One threshold code raises the threshold, one bias code adds to the sum of every step,
        `trim_lsb * LayerSettings.threshold` code units. Raises CodeRangeError for a code outside of
        `trim_code_min` to `trim_code_max` and LayerShapeError for another shape or type; both
        before anything is set. A chip without trims, or without those of thresholds (`info`),
        takes zeros alone.
        """
        ...

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus, and return what `record` asks for, layer by layer.

        Membranes start at zero; the weights are those at the start of the run. The clock advances
        by `steps * time_step` for each sample. The recording holds the layers of `record` alone:

        - COUNTS: `counts`.
        - SPIKES: `spikes`, of every step. A driver may leave out `counts`, or give their sum.
        - WINDOW: `spikes`, and `window` of every step.
        - MEMBRANE: `spikes`, and `membrane` of every step in code units, before the reset. Of a
          readout, `membrane` alone: its running sum.

        An observable that `info.observables` does not name need not be answered; its field is None.
        Layers above the last recorded one need not be computed.

        Raises LayerShapeError for values that do not fit the layer, NonFiniteError for values that
        are NaN or infinite, SettingError for fewer steps than one, and a ChipError for a layer that
        is not placed or that the stimulus does not reach; all before the chip is driven.
        """
        ...

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` of its own clock, so that fresh cells relax.

        Raises SettingError for a time that is negative or not finite.
        """
        ...

    def now(self) -> float:
        """Return the chip's clock, s; it never goes back."""
        ...
