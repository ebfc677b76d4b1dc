"""A driver with nothing that the port lets one leave out, over a simulated chip."""

from collections.abc import Mapping

from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from ltl_core.chip import (
    ChipInfo,
    LayerRecording,
    Observable,
    Recording,
    Stimulus,
    WriteReport,
)
from ltl_core.errors import CodeRangeError


class BareChip:
    """Records counts, writes cells and trims biases: no more.

    It has no probe, no registers, no trims of thresholds, no `write` and no `iter_layers`.
    """

    def __init__(self, name: str = "pcm", seed: int = 1, *, has_trims: bool = True) -> None:
        """Hide what is optional of a named chip; without trims it takes zeros alone."""
        self._chip: SimulatedChip = make_chip(f"bare-{name}-{seed}", preset(name), seed)
        whole = self._chip.info
        self.info: ChipInfo = whole._replace(
            observables=frozenset({Observable.COUNTS}),
            tuning=None,
            threshold_trims=False,
            trim_code_min=whole.trim_code_min if has_trims else 0,
            trim_code_max=whole.trim_code_max if has_trims else 0,
        )
        self.place, self.settle, self.now = self._chip.place, self._chip.settle, self._chip.now

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        """Write the cells; see the port."""
        return self._chip.program(layer, codes)

    def trim(self, layer: str, threshold: Tensor, bias: Tensor) -> None:
        """Set the biases; see the port."""
        low, high = self.info.trim_code_min, self.info.trim_code_max
        if threshold.any():
            raise CodeRangeError(layer, "threshold trim", 0, 0)
        if bias.min() < low or bias.max() > high:
            raise CodeRangeError(layer, "bias trim", low, high)
        self._chip.trim(layer, threshold, bias)

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Record counts, and the sums of the readout; whatever else is asked for is left out."""
        shown = self._chip.run(stimulus, record)
        layers = {
            name: layer
            if layer.counts is None and layer.spikes is None
            else LayerRecording(counts=layer.counts)
            for name, layer in shown.layers.items()
        }
        return Recording(layers, shown.chip_time)
