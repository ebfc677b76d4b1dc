"""A chip under a lease: once the lease is lost, no further call reaches the chip."""

from collections.abc import Callable, Iterator, Mapping

from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import (
    ChipBackend,
    ChipInfo,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    SideWeights,
    Stimulus,
    Tuning,
    WriteReport,
)
from ltl_core.default_probe import probe_chip
from ltl_core.errors import LeaseLostError
from ltl_core.optional_verbs import (
    BulkWriter,
    run_by_layer,
    side_weighted,
    temperature_of,
    tunable,
    write_one_by_one,
)


class LeasedBackend:
    """Passes every call on while the lease is held; afterwards it raises LeaseLostError.

    Every method also raises what the chip raises.
    """

    def __init__(self, backend: ChipBackend, token: int, held: Callable[[], bool]) -> None:
        self._backend = backend
        self._token = token
        self._held = held
        self._placement: Placement | None = None

    @property
    def info(self) -> ChipInfo:
        """Description of the chip; it needs no lease."""
        return self._backend.info

    def place(self, placement: Placement) -> None:
        """Place a network on the chip."""
        self._held_chip().place(placement)
        self._placement = placement

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Write the cells of one layer whose code changed."""
        return self._held_chip().program(layer, codes)

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Set the trim registers of one layer."""
        self._held_chip().trim(layer, threshold, bias)

    def write(self, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
        """Write many layers in one call if the chip can; else check the lease at each layer."""
        chip = self._held_chip()
        return chip.write(codes) if isinstance(chip, BulkWriter) else write_one_by_one(self, codes)

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus and return what was asked of each layer."""
        return self._held_chip().run(stimulus, record)

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Present the stimulus and yield each layer when the chip returns it."""
        return run_by_layer(self._held_chip(), stimulus, record)

    def probe(self) -> Fingerprint:
        """Return the chip's answer to its own fixed stimulus, or to the default one."""
        return probe_chip(self._held_chip(), self._placement)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` on its own clock."""
        self._held_chip().settle(seconds)

    def temperature(self) -> float | None:
        """Return the chip's temperature, K; None if the chip does not know it."""
        return temperature_of(self._held_chip())

    def now(self) -> float:
        """Return the chip's clock, in seconds."""
        return self._held_chip().now()

    def tuning(self, layer: str) -> Tuning:
        """Return the register codes under a layer. Raises NotTunableError."""
        return tunable(self._held_chip()).tuning(layer)

    def tune(self, layer: str, tuning: Tuning) -> None:
        """Set the registers under a layer. Raises NotTunableError."""
        tunable(self._held_chip()).tune(layer, tuning)

    def convert(self, layer: str, level: float, repeats: int) -> Int[Tensor, "repeat tile column"]:
        """Return ADC codes for the reference current. Raises NotTunableError."""
        return tunable(self._held_chip()).convert(layer, level, repeats)

    def excite(
        self, layer: str, current: Float[Tensor, "time column"], repeats: int
    ) -> Int[Tensor, "repeat column"]:
        """Return spike counts of neurons on the test current. Raises NotTunableError."""
        return tunable(self._held_chip()).excite(layer, current, repeats)

    def clipped(self, stimulus: Stimulus) -> Mapping[str, Float[Tensor, " tile"]]:
        """Return the fraction of ADC conversions that saturated. Raises NotTunableError."""
        return tunable(self._held_chip()).clipped(stimulus)

    def set_side(self, layer: str, weights: SideWeights | None) -> None:
        """Set the side weights of a layer. Raises NoSideWeightsError."""
        side_weighted(self._held_chip()).set_side(layer, weights)

    def _held_chip(self) -> ChipBackend:
        if not self._held():
            raise LeaseLostError(self._backend.info.chip_id, self._token)
        return self._backend
