"""The tuning of one layer: its circuits measured, its registers searched."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ltl_core.chip import LayerSettings, Tuning
from ltl_core.network.stages import Stage
from ltl_core.tuning.circuits import AdcResponse, CircuitTester, LayerCircuits
from ltl_core.tuning.result import Spread, Success
from ltl_core.tuning.search import SearchResult, nearest_codes

_ADC_WITHIN = 1.0  # LSB, at zero and at REACH
_THRESHOLD_WITHIN = 0.02  # fraction of the threshold
_LEAK_WITHIN = 0.05  # fraction of the time constant


class CircuitMeasurement(NamedTuple):
    """The circuits of one layer as measured; neurons as multiples of nominal, NaN if dead."""

    response: AdcResponse
    thresholds: Float[Tensor, " column"] | None  # None of a readout
    time_constants: Float[Tensor, " column"] | None  # None if there is no leak to measure


class LayerTuner:
    """Tunes the circuits under one placed layer, whose threshold trims have to be zero.

    Every method raises what the chip raises.
    """

    def __init__(self, tester: CircuitTester, stage: Stage, settings: LayerSettings) -> None:
        self._chip, self._info, self._stage = tester.chip, tester.info, stage
        self._circuits = LayerCircuits(tester, stage, settings)
        self._tuning = tester.chip.tuning(stage.name)

    @property
    def tuning(self) -> Tuning:
        """The codes that are in the registers."""
        return self._tuning

    def set(self, tuning: Tuning) -> None:
        """Set the registers."""
        self._chip.tune(self._stage.name, tuning)
        self._tuning = tuning

    def reset(self) -> None:
        """Set all registers to zero, which leaves the circuits as they were made."""
        several = self._tuning.tensors.items()
        zeros = {name: torch.zeros_like(codes) for name, codes in several}
        self.set(self._tuning._replace(**zeros, readout_gain=0))

    @property
    def ranges(self) -> int:
        """Number of ranges: one for each row of tiles, or one for the layer."""
        return len(self._tuning.adc_range) if self._info.range_by_tile else 1

    def set_ranges(self, codes: Int[Tensor, " range"]) -> None:
        """Set the ranges of the converters."""
        rows = len(self._tuning.adc_range)
        self.set(self._tuning._replace(adc_range=codes.expand(rows)))

    def by_range(self, clipped: Float[Tensor, " tile"]) -> Float[Tensor, " range"]:
        """Return the fraction of clipped codes that belongs to each range."""
        return clipped if self._info.range_by_tile else clipped.mean(0, keepdim=True)

    def measure(self) -> CircuitMeasurement:
        """Measure everything that the registers act on, with the registers in force."""
        response = self._circuits.response()
        if not self._circuits.fires:
            return CircuitMeasurement(response, None, None)
        thresholds = self._circuits.thresholds()
        if not self._circuits.leaks:
            return CircuitMeasurement(response, thresholds, None)
        time_constants = self._circuits.time_constants(thresholds)
        return CircuitMeasurement(response, thresholds, time_constants)

    def search(self) -> None:
        """Search offsets, then gains; thresholds, then leaks, which are measured by thresholds."""
        banks, columns = tuple(self._tuning.adc_offset.shape), (self._stage.columns,)
        offset = self._search_codes("adc_offset", banks, self._circuits.offset)
        self.set(self._tuning._replace(adc_offset=offset.codes))
        gain = self._search_codes("adc_gain", banks, self._circuits.gain_error)
        self.set(self._tuning._replace(adc_gain=gain.codes))
        if not self._circuits.fires:
            return
        # The rate falls as the threshold rises.
        threshold = self._search_codes("threshold", columns, lambda: -self._circuits.rate_at(1.0))
        self.set(self._tuning._replace(threshold=_alive(threshold)))
        if not self._circuits.leaks:
            return
        measured = self._circuits.thresholds().nan_to_num(1.0)
        leak = self._search_codes("leak", columns, lambda: self._circuits.rate_after_leak(measured))
        self.set(self._tuning._replace(leak=_alive(leak)))

    def _search_codes(
        self, register: str, shape: tuple[int, ...], error: Callable[[], Float[Tensor, "*circuit"]]
    ) -> SearchResult:
        """Search the codes of one register; those of the last measurement are left in it."""

        def error_with(codes: Int[Tensor, "*circuit"]) -> Float[Tensor, "*circuit"]:
            self.set(Tuning(**self._tuning._asdict() | {register: codes}))
            return error()

        return nearest_codes(getattr(self._info, register), shape, error_with)


def success_of(found: CircuitMeasurement) -> Success:
    """Return which circuits came close to nominal; ranges are no circuits, and taken as good."""
    response = found.response
    adc = (response.zero.abs() <= _ADC_WITHIN) & (response.gain_error.abs() <= _ADC_WITHIN)
    return Success(
        adc,
        _near(found.thresholds, adc, _THRESHOLD_WITHIN),
        _near(found.time_constants, adc, _LEAK_WITHIN),
        adc_range=torch.ones(1, dtype=torch.bool),
    )


def spread_of(
    found: CircuitMeasurement, success: Success, clipped: Float[Tensor, " tile"]
) -> Spread:
    """Return how much the circuits differ that could be tuned, and how often they are clipped."""
    return Spread(
        max(_difference(level[success.adc]) for level in found.response),
        _deviation(found.thresholds, success.threshold),
        _deviation(found.time_constants, success.leak),
        float(clipped.mean()),  # all rows of tiles convert equally often
    )


def _alive(found: SearchResult) -> Int[Tensor, " column"]:
    """Return zero for a neuron that answered never or always: nothing was there to search by."""
    return torch.where(found.error.abs() < 0.5, found.codes, 0)


def _near(
    found: Float[Tensor, " column"] | None, adc: Bool[Tensor, "tile column"], within: float
) -> Bool[Tensor, " column"]:
    if found is None:
        return torch.ones(adc.shape[1], dtype=torch.bool)
    return (found - 1).abs() <= within  # false where it is NaN


def _difference(levels: Float[Tensor, " circuit"]) -> float:
    return float(levels.max() - levels.min()) if len(levels) else 0.0


def _deviation(
    found: Float[Tensor, " column"] | None, good: Bool[Tensor, " column"]
) -> float | None:
    if found is None:
        return None
    kept = found[good & ~found.isnan()]
    return float(kept.std()) if len(kept) > 1 else 0.0
