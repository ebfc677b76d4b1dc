"""Making a chip's circuits alike by its registers, before anything is learned on it.

Search on measurements alone: successive approximation of every register, all circuits of a layer
at once, against the reference, the test current and, for the range, samples.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import ChipBackend, LayerCodes, Placement, Stimulus, Tuning
from ltl_core.errors import NotTunableError, SettingError
from ltl_core.optional_verbs import tunable
from ltl_core.progress import Phase, Progress, Spent
from ltl_core.settings import TuneSettings
from ltl_core.tuning.layer import LayerBench, Seen, spread_of, success_of
from ltl_core.tuning.result import LayerTuned, Verdict, judge
from ltl_core.tuning.search import lowest_codes


class Bench(NamedTuple):
    """A chip on which a network stands, its trims, and samples to set the range by."""

    chip: ChipBackend
    placement: Placement
    codes: Mapping[str, LayerCodes]
    stimulus: Stimulus


class Tuner:
    """`steps` yields a Progress after each step; between two of them the caller may `roll_back`.

    The trims of the codes stand on the chip again afterwards.
    """

    def __init__(self, bench: Bench, settings: TuneSettings) -> None:
        """Raises NotTunableError."""
        self._chip, self._bench, self._settings = tunable(bench.chip), bench, settings
        info = bench.chip.info.tuning
        if info is None:
            raise NotTunableError(bench.chip.info.chip_id)
        self._info, stages = info, bench.placement.network.stages
        self._layers = {
            stage.name: LayerBench(
                self._chip, info, (stage, bench.placement.layers[stage.name]), settings.repeats
            )
            for stage in stages
        }
        self._found = {name: layer.tuning for name, layer in self._layers.items()}
        self._result: dict[str, LayerTuned] | None = None
        self._step = self._samples = 0

    @property
    def result(self) -> dict[str, LayerTuned]:
        """Layer by layer, once `steps` has come to its end."""
        if self._result is None:
            raise SettingError("The tuning has not ended: run its steps first.")
        return self._result

    def steps(self) -> Iterator[Progress]:
        """Measure untuned, search layer by layer, set the ranges, measure again."""
        for layer in self._layers.values():
            layer.clear()
        clipped = self._clipped()
        self._rest_trims()
        before = {}
        for name, layer in self._layers.items():
            before[name] = layer.look()
            yield self._progress(Phase.BEFORE)
        for layer in self._layers.values():
            layer.search()
            yield self._progress(Phase.TUNING)
        self._set_trims()
        ranged = self._set_ranges()
        yield self._progress(Phase.TUNING)
        seen, clipped_after = self._look()
        yield self._progress(Phase.AFTER)
        self._result = {
            name: _tuned(
                (layer.tuning, ranged[name]),
                (before[name], clipped[name]),
                (seen[name], clipped_after[name]),
            )
            for name, layer in self._layers.items()
        }

    def roll_back(self) -> None:
        """Put back what stood in the registers at the start, and the trims."""
        for name, tuning in self._found.items():
            self._layers[name].set(tuning)
        self._set_trims()

    def apply(self, tuned: Mapping[str, LayerTuned]) -> None:
        """Set the registers that an earlier tuning of this network found. Raises SettingError."""
        if tuned.keys() != self._layers.keys():
            raise SettingError(
                f"These registers belong to a network of layers {', '.join(tuned)}, but "
                f"{', '.join(self._layers)} stand on the chip: tune it again."
            )
        for name, layer in tuned.items():
            self._layers[name].set(layer.tuning)

    def check(self, tuned: Mapping[str, LayerTuned]) -> dict[str, Verdict]:
        """Measure the chip as it is, and hold it against what a tuning found it could be."""
        seen, clipped = self._look()
        spreads = {n: spread_of(seen[n], tuned[n].success, clipped[n]) for n in seen}
        return {n: judge(spread, tuned[n].before, self._info) for n, spread in spreads.items()}

    def _look(self) -> tuple[dict[str, Seen], dict[str, float]]:
        clipped = self._clipped()
        self._rest_trims()
        seen = {name: layer.look() for name, layer in self._layers.items()}
        self._set_trims()
        return seen, clipped

    def _set_ranges(self) -> dict[str, bool]:
        """The smallest range of each layer in which few enough conversions end at an end.

        Tells of which layers there is one; of the others the widest is set.
        """
        names, limit = list(self._layers), self._settings.clipped_max

        def margin(codes: Int[Tensor, " layer"]) -> Float[Tensor, " layer"]:
            for name, code in zip(names, codes.tolist(), strict=True):
                layer = self._layers[name]
                layer.set(layer.tuning._replace(adc_range=code))
            clipped = self._clipped()
            return torch.tensor([limit - clipped[name] for name in names])

        found = lowest_codes(self._info.adc_range, (len(names),), margin)
        enough = (found.error >= 0) | (found.codes < self._info.adc_range.code_max)
        return dict(zip(names, enough.tolist(), strict=True))

    def _clipped(self) -> dict[str, float]:
        stimulus = self._bench.stimulus
        self._samples += len(stimulus.values)
        return dict(self._chip.clipped(stimulus))

    def _rest_trims(self) -> None:
        for name, code in self._bench.codes.items():
            rest = torch.zeros_like(code.threshold)
            self._bench.chip.trim(name, rest, rest)

    def _set_trims(self) -> None:
        for name, code in self._bench.codes.items():
            self._bench.chip.trim(name, code.threshold, code.bias)

    def _progress(self, phase: Phase) -> Progress:
        self._step += 1
        spent = Spent(samples_measured=self._samples)
        return Progress(phase, self._step, 2 * len(self._layers) + 2, spent=spent)


def _tuned(
    found: tuple[Tuning, bool], before: tuple[Seen, float], after: tuple[Seen, float]
) -> LayerTuned:
    tuning, ranged = found
    success = success_of(after[0])._replace(adc_range=ranged)
    spreads = (spread_of(seen, success, clipped) for seen, clipped in (before, after))
    return LayerTuned(tuning, success, *spreads)
