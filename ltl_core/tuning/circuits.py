"""Measurements of the converters and neurons of one layer, on the chip's test circuits alone.

A neuron's threshold is the test current, for one step, that makes it fire half of the time. Its
leak shows in how much of a first pulse A is left k steps later: a second one, B, finds the rest,

    A d^k + B = threshold    at a rate of one half.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ltl_core.chip import LayerSettings, Register, TuningInfo
from ltl_core.network.stages import Stage
from ltl_core.optional_verbs import TunableChip
from ltl_core.tuning.search import Measure, nearest_codes

REACH = 0.8  # fraction of the full scale where gains are compared; of the threshold, the pulse A
_RAMP = (-0.75, -0.25, 0.25, 0.75)  # steps between two codes: an average sees finer than a code
_LEAK_WINDOWS = 4  # times as many windows for a leak, in which the noise of many steps adds up
_GAP_MAX = 32  # steps between two pulses


class CircuitTester(NamedTuple):
    """A chip whose circuits are tested, and how often each test of a neuron is repeated."""

    chip: TunableChip
    info: TuningInfo
    repeats: int


class AdcResponse(NamedTuple):
    """Mean codes of the converters at -REACH, zero and REACH, less the ideal ones, LSB."""

    low: Float[Tensor, "tile column"]
    zero: Float[Tensor, "tile column"]
    high: Float[Tensor, "tile column"]

    @property
    def gain_error(self) -> Float[Tensor, "tile column"]:
        """Error of the gain at REACH, without the offset, LSB."""
        return (self.high - self.low) / 2


class LayerCircuits:
    """The converters and neurons under one placed layer; its threshold trims have to be zero.

    Every measurement raises what the chip raises.
    """

    def __init__(self, tester: CircuitTester, stage: Stage, settings: LayerSettings) -> None:
        self._chip, self._info, self._repeats = tester
        self._stage, self._decay = stage, settings.decay
        leaks = 0.0 < settings.decay < 1.0
        self._gap = min(max(round(-1 / math.log(settings.decay)), 1), _GAP_MAX) if leaks else 0

    @property
    def leaks(self) -> bool:
        """Whether there is a leak to measure: neurons that forget, but not at once."""
        return self.fires and self._gap > 0

    @property
    def fires(self) -> bool:
        """Whether the layer has neurons; a readout has none."""
        return not self._stage.is_readout

    def response(self) -> AdcResponse:
        """Measure the converters at three levels, with the registers in force."""
        return AdcResponse(*(self._error_at(level) for level in (-REACH, 0.0, REACH)))

    def offset(self) -> Float[Tensor, "tile column"]:
        """Measure the offset of each converter, LSB."""
        return self._error_at(0.0)

    def gain_error(self) -> Float[Tensor, "tile column"]:
        """Measure the error of each converter's gain at REACH, LSB."""
        return (self._error_at(REACH) - self._error_at(-REACH)) / 2

    def rate_at(self, threshold: Float[Tensor, " column"] | float) -> Float[Tensor, " column"]:
        """Measure how often one step of a current as large as `threshold` fires, less one half.

        The current is a multiple of the layer's threshold.
        """
        columns = self._stage.columns
        return self._rate(torch.zeros(0, columns), torch.ones(columns) * threshold)

    def rate_after_leak(self, threshold: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """Measure how often two pulses fire that just reach `threshold` at nominal leak, less 1/2.

        Thresholds are multiples of the layer's threshold.
        """
        first = self._first_pulse(threshold)
        return self._rate(self._pulse(first), threshold - first * self._decay**self._gap)

    def thresholds(self) -> Float[Tensor, " column"]:
        """Measure thresholds, as multiples of nominal; NaN of neurons that fire never or always."""

        def rate(codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
            return self.rate_at(codes * self._info.current_lsb)

        return self._current_at_half(rate)

    def time_constants(self, thresholds: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """Measure time constants, as multiples of nominal, given the measured thresholds.

        NaN where a threshold is NaN.
        """
        known = thresholds.nan_to_num(1.0)
        first = self._first_pulse(known)

        def rate(codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
            return self._rate(self._pulse(first), codes * self._info.current_lsb)

        left = (known - self._current_at_half(rate)) / first
        decay = left.clamp(min=1e-6, max=1 - 1e-6) ** (1 / self._gap)
        found = math.log(self._decay) / decay.log()
        return torch.where(thresholds.isnan(), torch.nan, found)

    def _error_at(self, level: float) -> Float[Tensor, "tile column"]:
        """Return mean code - ideal code of every converter, around a fraction of the full scale."""
        top = self._info.adc_code_max
        levels = [level + step / top for step in _RAMP]
        codes = [self._chip.convert(self._stage.name, at, self._conversions) for at in levels]
        return torch.cat(codes).double().mean(0) - level * top

    def _rate(
        self, before: Float[Tensor, "time column"], last: Float[Tensor, " column"]
    ) -> Float[Tensor, " column"]:
        """Return the fraction of windows with a spike, less one half.

        The last current is varied by less than one code, up and down.
        """
        step, fired = self._info.threshold.lsb, []
        windows = self._repeats * (_LEAK_WINDOWS if len(before) else 1) // len(_RAMP)
        for shift in _RAMP:
            current = torch.cat((before, (last + shift * step)[None]))
            limit = self._info.current_max
            counts = self._chip.excite(self._stage.name, current.clamp(-limit, limit), windows)
            fired.append((counts > 0).double())
        return torch.cat(fired).mean(0) - 0.5

    def _current_at_half(self, rate: Measure) -> Float[Tensor, " column"]:
        """Return the test current at which the rate passes one half; NaN if none does."""
        top = math.floor(self._info.current_max / self._info.current_lsb)
        register = Register(0, top, self._info.current_lsb)
        found = nearest_codes(register, (self._stage.columns,), rate)
        passed: Bool[Tensor, " column"] = found.error.abs() < 0.5
        return torch.where(passed, found.codes * self._info.current_lsb, torch.nan)

    def _first_pulse(self, threshold: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """Return a pulse below the threshold, rounded to what the test current can be set to."""
        lsb = self._info.current_lsb
        return (REACH * threshold / lsb).round() * lsb

    def _pulse(self, first: Float[Tensor, " column"]) -> Float[Tensor, "time column"]:
        return torch.cat((first[None], torch.zeros(self._gap - 1, len(first))))

    @property
    def _conversions(self) -> int:
        """Conversions of each test: a reference is far quieter than a neuron."""
        return -(-self._repeats // (8 * len(_RAMP)))
