"""Makes a chip's circuits alike by its registers, before anything is learned on it.

The search uses measurements alone: successive approximation of every register, all circuits of a
layer at once, on the reference, on the test current and, for the ranges, on samples.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ltl_core.chip import ChipBackend, LayerCodes, Placement, Stimulus
from ltl_core.errors import NotTunableError, SettingError
from ltl_core.optional_verbs import tunable
from ltl_core.progress import Phase, Progress, Spent
from ltl_core.settings import TuneSettings
from ltl_core.tuning.circuits import CircuitTester
from ltl_core.tuning.layer import CircuitMeasurement, LayerTuner, spread_of, success_of
from ltl_core.tuning.result import TunedLayer, TuningCheck, check_spread
from ltl_core.tuning.search import lowest_codes


class TuningSetup(NamedTuple):
    """A chip on which a network is placed, its trims, and samples to set the ranges by."""

    chip: ChipBackend
    placement: Placement
    codes: Mapping[str, LayerCodes]
    stimulus: Stimulus


class _Measured(NamedTuple):
    """All layers of the chip, with the registers in force."""

    circuits: Mapping[str, CircuitMeasurement]
    clipped: Mapping[str, Float[Tensor, " _tile"]]  # fraction of the conversions


class Tuner:
    """Tunes the circuits under all layers of a placed network.

    `steps` yields a Progress after each step; between two of them the caller may `roll_back`.
    The trims of the codes are set again afterwards. Every method raises what the chip raises.
    """

    def __init__(self, setup: TuningSetup, settings: TuneSettings) -> None:
        """Read the registers as they are. Raises NotTunableError if the chip has none."""
        self._chip, self._setup, self._settings = tunable(setup.chip), setup, settings
        info = setup.chip.info.tuning
        if info is None:
            raise NotTunableError(setup.chip.info.chip_id)
        self._info, placement = info, setup.placement
        tester = CircuitTester(self._chip, info, settings.repeats)
        self._layers = {
            stage.name: LayerTuner(tester, stage, placement.layers[stage.name])
            for stage in placement.network.stages
        }
        self._initial = {name: layer.tuning for name, layer in self._layers.items()}
        self._ranged: Mapping[str, Bool[Tensor, " _range"]] = {}
        self._result: dict[str, TunedLayer] | None = None
        self._step = self._samples = 0

    @property
    def result(self) -> dict[str, TunedLayer]:
        """Result of the tuning, layer by layer. Raises SettingError before `steps` has ended."""
        if self._result is None:
            raise SettingError("The tuning has not ended: run its steps first.")
        return self._result

    def steps(self) -> Iterator[Progress]:
        """Measure untuned, search layer by layer, set the ranges, measure again."""
        for layer in self._layers.values():
            layer.reset()
        clipped, circuits = self._clipped(), {}
        self._clear_trims()
        for name, layer in self._layers.items():
            circuits[name] = layer.measure()
            yield self._progress(Phase.BEFORE)
        yield from self.search()
        after = self._measure()
        yield self._progress(Phase.AFTER)
        self._result = self._tuned(_Measured(circuits, clipped), after, self._ranged)

    def search(self) -> Iterator[Progress]:
        """Search layer by layer, and set the ranges: what `steps` does between its measurements.

        There is no result of it but the registers.
        """
        for layer in self._layers.values():
            layer.reset()
        self._clear_trims()
        for layer in self._layers.values():
            layer.search()
            yield self._progress(Phase.TUNING)
        self._set_trims()
        self._ranged = self._set_ranges()
        yield self._progress(Phase.TUNING)

    def roll_back(self) -> None:
        """Put back the register codes of the start, and set the trims again."""
        for name, tuning in self._initial.items():
            self._layers[name].set(tuning)
        self._set_trims()

    def apply(self, tuned: Mapping[str, TunedLayer]) -> None:
        """Set the registers that an earlier tuning of this network found.

        Raises SettingError if the layers are others.
        """
        if tuned.keys() != self._layers.keys():
            raise SettingError(
                f"These registers belong to a network of layers {', '.join(tuned)}, but "
                f"{', '.join(self._layers)} are placed on the chip: tune it again."
            )
        for name, layer in tuned.items():
            self._layers[name].set(layer.tuning)

    def check(self, tuned: Mapping[str, TunedLayer]) -> dict[str, TuningCheck]:
        """Measure the chip as it is, and check it against what a tuning found possible."""
        measured = self._measure()
        spreads = {
            name: spread_of(found, tuned[name].success, measured.clipped[name])
            for name, found in measured.circuits.items()
        }
        return {
            name: check_spread(spread, tuned[name].before, self._info)
            for name, spread in spreads.items()
        }

    def _measure(self) -> _Measured:
        clipped = self._clipped()
        self._clear_trims()
        circuits = {name: layer.measure() for name, layer in self._layers.items()}
        self._set_trims()
        return _Measured(circuits, clipped)

    def _tuned(
        self, before: _Measured, after: _Measured, ranged: Mapping[str, Bool[Tensor, " _range"]]
    ) -> dict[str, TunedLayer]:
        """Return the registers with the spreads of the circuits that could be tuned."""
        tuned = {}
        for name, layer in self._layers.items():
            success = success_of(after.circuits[name])._replace(adc_range=ranged[name])
            spreads = (
                spread_of(measured.circuits[name], success, measured.clipped[name])
                for measured in (before, after)
            )
            tuned[name] = TunedLayer(layer.tuning, success, *spreads)
        return tuned

    def _set_ranges(self) -> dict[str, Bool[Tensor, " _range"]]:
        """Set the smallest range of each row of tiles in which few enough codes are clipped.

        A chip may have one for each layer instead. Returns for which ranges there is such a code;
        for the others the widest is set.
        """
        layers, limit = self._layers, self._settings.clipped_max
        counts = [layer.ranges for layer in layers.values()]

        def margin(codes: Int[Tensor, " range"]) -> Float[Tensor, " range"]:
            for layer, code in zip(layers.values(), codes.split(counts), strict=True):
                layer.set_ranges(code)
            clipped = self._clipped()
            found = [layer.by_range(clipped[name]) for name, layer in layers.items()]
            return limit - torch.cat(found)

        found = lowest_codes(self._info.adc_range, (sum(counts),), margin)
        enough = (found.error >= 0) | (found.codes < self._info.adc_range.code_max)
        return dict(zip(layers, enough.split(counts), strict=True))

    def _clipped(self) -> dict[str, Float[Tensor, " _tile"]]:
        stimulus = self._setup.stimulus
        self._samples += len(stimulus.values)
        return dict(self._chip.clipped(stimulus))

    def _clear_trims(self) -> None:
        for name, code in self._setup.codes.items():
            zeros = torch.zeros_like(code.threshold)
            self._setup.chip.trim(name, zeros, zeros)

    def _set_trims(self) -> None:
        for name, code in self._setup.codes.items():
            self._setup.chip.trim(name, code.threshold, code.bias)

    def _progress(self, phase: Phase) -> Progress:
        self._step += 1
        spent = Spent(samples_measured=self._samples)
        return Progress(phase, self._step, 2 * len(self._layers) + 2, spent=spent)
