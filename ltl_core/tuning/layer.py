"""One layer in test: its circuits measured, its registers searched."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ltl_core.chip import LayerSettings, Tuning, TuningInfo
from ltl_core.network.stages import Stage
from ltl_core.optional_verbs import TunableChip
from ltl_core.tuning.circuits import Circuits, Response
from ltl_core.tuning.result import Spread, Success
from ltl_core.tuning.search import nearest_codes

_ADC_WITHIN = 1.0  # LSB, at zero and at the end of the reach
_THRESHOLD_WITHIN = 0.02  # of the threshold
_LEAK_WITHIN = 0.05  # of the time constant


class Seen(NamedTuple):
    """The circuits of one layer as measured; of neurons in parts of nominal, NaN where dead."""

    response: Response
    thresholds: Float[Tensor, " column"] | None  # None of a readout
    leaks: Float[Tensor, " column"] | None  # None where there is no leak to measure


class LayerBench:
    """One placed layer, its threshold trims at zero."""

    def __init__(
        self, chip: TunableChip, info: TuningInfo, placed: tuple[Stage, LayerSettings], repeats: int
    ) -> None:
        self._chip, self._info, self._stage = chip, info, placed[0]
        self._circuits = Circuits(chip, info, placed, repeats)
        self._tuning = chip.tuning(self._stage.name)

    @property
    def tuning(self) -> Tuning:
        """What stands in the registers."""
        return self._tuning

    def set(self, tuning: Tuning) -> None:
        """Set the registers."""
        self._chip.tune(self._stage.name, tuning)
        self._tuning = tuning

    def clear(self) -> None:
        """Leave the circuits as they were made."""
        zeros = [torch.zeros_like(codes) for codes in self._tuning[:4]]
        self.set(Tuning(zeros[0], zeros[1], zeros[2], zeros[3], adc_range=0))

    def look(self) -> Seen:
        """Measure everything that the registers act on."""
        response = self._circuits.response()
        if not self._circuits.fires:
            return Seen(response, None, None)
        thresholds = self._circuits.thresholds()
        if not self._circuits.leaks:
            return Seen(response, thresholds, None)
        return Seen(response, thresholds, self._circuits.time_constants(thresholds))

    def search(self) -> None:
        """Offsets, then gains; thresholds, then leaks, which are measured by the thresholds."""
        banks = tuple(self._tuning.adc_offset.shape)
        offset, gain = self._info.adc_offset, self._info.adc_gain
        self.set(self._tuning._replace(adc_offset=nearest_codes(offset, banks, self._offset).codes))
        self.set(self._tuning._replace(adc_gain=nearest_codes(gain, banks, self._gain).codes))
        if not self._circuits.fires:
            return
        columns = (self._stage.columns,)
        found = nearest_codes(self._info.threshold, columns, self._threshold)
        self.set(self._tuning._replace(threshold=_alive(found.codes, found.error)))
        if not self._circuits.leaks:
            return
        thresholds = self._circuits.thresholds().nan_to_num(1.0)

        def leak(codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
            self.set(self._tuning._replace(leak=codes))
            return self._circuits.kept(thresholds)

        kept = nearest_codes(self._info.leak, columns, leak)
        self.set(self._tuning._replace(leak=_alive(kept.codes, kept.error)))

    def _offset(self, codes: Int[Tensor, "tile column"]) -> Float[Tensor, "tile column"]:
        self.set(self._tuning._replace(adc_offset=codes))
        return self._circuits.offset()

    def _gain(self, codes: Int[Tensor, "tile column"]) -> Float[Tensor, "tile column"]:
        self.set(self._tuning._replace(adc_gain=codes))
        return self._circuits.gain_error()

    def _threshold(self, codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
        """A higher threshold fires less."""
        self.set(self._tuning._replace(threshold=codes))
        return -self._circuits.fired(1.0)


def success_of(seen: Seen) -> Success:
    """Which circuits came close to nominal. The range is another matter, of the whole layer."""
    response = seen.response
    adc = (response.zero.abs() <= _ADC_WITHIN) & (response.gain_error.abs() <= _ADC_WITHIN)
    return Success(
        adc,
        _near(seen.thresholds, adc, _THRESHOLD_WITHIN),
        _near(seen.leaks, adc, _LEAK_WITHIN),
        adc_range=True,
    )


def spread_of(seen: Seen, success: Success, clipped: float | None) -> Spread:
    """How much the circuits differ, of those that could be tuned."""
    return Spread(
        max(_difference(level[success.adc]) for level in seen.response),
        _deviation(seen.thresholds, success.threshold),
        _deviation(seen.leaks, success.leak),
        clipped,
    )


def _alive(
    codes: Int[Tensor, " column"], error: Float[Tensor, " column"]
) -> Int[Tensor, " column"]:
    """Zero where the neuron never answered, or always: there was nothing to search by."""
    return torch.where(error.abs() < 0.5, codes, 0)


def _near(
    found: Float[Tensor, " column"] | None, adc: Tensor, within: float
) -> Bool[Tensor, " column"]:
    if found is None:
        return torch.ones(adc.shape[1], dtype=torch.bool)
    return (found - 1).abs() <= within  # not where it is NaN


def _difference(levels: Float[Tensor, " circuit"]) -> float:
    return float(levels.max() - levels.min()) if len(levels) else 0.0


def _deviation(
    found: Float[Tensor, " column"] | None, good: Bool[Tensor, " column"]
) -> float | None:
    if found is None:
        return None
    kept = found[good & ~found.isnan()]
    return float(kept.std()) if len(kept) > 1 else 0.0
