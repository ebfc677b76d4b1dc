"""What a bench can find out about the converters and neurons of one layer: by measurement alone.

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

REACH = 0.8  # of the full scale, where converters are compared; of the threshold, the first pulse
_RAMP = (-0.75, -0.25, 0.25, 0.75)  # steps between two codes: an average sees finer than a code
_MORE = 4  # times as many windows for a leak, in which the noise of many steps adds up
_GAP_MAX = 32  # steps between two pulses


class Response(NamedTuple):
    """Of the converters: mean codes at zero and at both ends, less what was put in, LSB."""

    low: Float[Tensor, "tile column"]
    zero: Float[Tensor, "tile column"]
    high: Float[Tensor, "tile column"]

    @property
    def gain_error(self) -> Float[Tensor, "tile column"]:
        """At the end of the reach, offset apart."""
        return (self.high - self.low) / 2


class Circuits:
    """One placed layer in test. Its threshold trims are to be zero."""

    def __init__(
        self, chip: TunableChip, info: TuningInfo, placed: tuple[Stage, LayerSettings], repeats: int
    ) -> None:
        self._chip, self._info, self._repeats = chip, info, repeats
        self._stage, settings = placed
        self._decay = settings.decay
        leaks = 0.0 < settings.decay < 1.0
        self._gap = min(max(round(-1 / math.log(settings.decay)), 1), _GAP_MAX) if leaks else 0

    @property
    def leaks(self) -> bool:
        """Whether there is a leak to measure: neurons that forget, but not at once."""
        return self.fires and self._gap > 0

    @property
    def fires(self) -> bool:
        """A readout has no neurons."""
        return not self._stage.is_readout

    def response(self) -> Response:
        """Of the converters as their registers stand."""
        return Response(*(self._error_at(level) for level in (-REACH, 0.0, REACH)))

    def offset(self) -> Float[Tensor, "tile column"]:
        """Of the converters, LSB."""
        return self._error_at(0.0)

    def gain_error(self) -> Float[Tensor, "tile column"]:
        """Of the converters at the end of the reach, LSB."""
        return (self._error_at(REACH) - self._error_at(-REACH)) / 2

    def fired(self, threshold: Float[Tensor, " column"] | float) -> Float[Tensor, " column"]:
        """How often, less a half, one step of a current as large as this makes the neurons fire."""
        columns = self._stage.columns
        return self._rate(torch.zeros(0, columns), torch.ones(columns) * threshold)

    def kept(self, threshold: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """Likewise, of two pulses that make a neuron of this threshold and nominal leak fire."""
        first = self._first(threshold)
        return self._rate(self._pulse(first), threshold - first * self._decay**self._gap)

    def thresholds(self) -> Float[Tensor, " column"]:
        """In parts of nominal; NaN of neurons that never fire, or always."""

        def rate(codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
            return self.fired(codes * self._info.current_lsb)

        return self._current_at_half(rate)

    def time_constants(self, thresholds: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """In parts of nominal, given the thresholds as measured; NaN where they are."""
        known = thresholds.nan_to_num(1.0)
        first = self._first(known)

        def rate(codes: Int[Tensor, " column"]) -> Float[Tensor, " column"]:
            return self._rate(self._pulse(first), codes * self._info.current_lsb)

        left = (known - self._current_at_half(rate)) / first
        decay = left.clamp(min=1e-6, max=1 - 1e-6) ** (1 / self._gap)
        found = math.log(self._decay) / decay.log()
        return torch.where(thresholds.isnan(), torch.nan, found)

    def _error_at(self, level: float) -> Float[Tensor, "tile column"]:
        top = self._info.adc_code_max
        parts = [level + step / top for step in _RAMP]
        codes = [self._chip.convert(self._stage.name, at, self._conversions) for at in parts]
        return torch.cat(codes).double().mean(0) - level * top

    def _rate(
        self, before: Float[Tensor, "time column"], last: Float[Tensor, " column"]
    ) -> Float[Tensor, " column"]:
        """Spikes of a window, less a half; the last current is varied a little, up and down."""
        step, fired = self._info.threshold.lsb, []
        windows = self._repeats * (_MORE if len(before) else 1) // len(_RAMP)
        for part in _RAMP:
            played = torch.cat((before, (last + part * step)[None]))
            limit = self._info.current_max
            counts = self._chip.excite(self._stage.name, played.clamp(-limit, limit), windows)
            fired.append((counts > 0).double())
        return torch.cat(fired).mean(0) - 0.5

    def _current_at_half(self, rate: Measure) -> Float[Tensor, " column"]:
        """Between the two codes of the test current where the rate passes one half."""
        top = math.floor(self._info.current_max / self._info.current_lsb)
        register = Register(0, top, self._info.current_lsb)
        found = nearest_codes(register, (self._stage.columns,), rate)
        sane: Bool[Tensor, " column"] = found.error.abs() < 0.5
        return torch.where(sane, found.codes * self._info.current_lsb, torch.nan)

    def _first(self, threshold: Float[Tensor, " column"]) -> Float[Tensor, " column"]:
        """A pulse that stays below, as large as the test current can be set."""
        lsb = self._info.current_lsb
        return (REACH * threshold / lsb).round() * lsb

    def _pulse(self, first: Float[Tensor, " column"]) -> Float[Tensor, "time column"]:
        return torch.cat((first[None], torch.zeros(self._gap - 1, len(first))))

    @property
    def _conversions(self) -> int:
        """A reference is far quieter than a neuron."""
        return -(-self._repeats // (8 * len(_RAMP)))
