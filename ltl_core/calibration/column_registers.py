"""Gains and offsets of a layer's columns, set by a chip's registers, relative to codes in force."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import Register, Tuning, TuningInfo


def with_gain(
    tuning: Tuning, gain: Float[Tensor, " column"], info: TuningInfo, *, is_readout: bool
) -> Tuning:
    """Return registers that multiply the sums of each column by `gain`, or as nearly as they can.

    Converters take as much of it as their range allows. The rest goes to the thresholds, which
    fall as a gain rises; of a readout to its digital gain, if it has one. `tuning` is not changed.
    """
    converted = _converters(tuning, gain, info)
    rest = gain / _achieved(tuning.adc_gain, converted.adc_gain, info.adc_gain).mean(0)
    beyond = _at_end(converted.adc_gain, info.adc_gain).any(0)
    if not beyond.any():
        return converted
    if is_readout:
        return _with_readout_gain(tuning, gain, rest, info)
    lowered = _factor(tuning.threshold, info.threshold) / rest
    threshold = torch.where(beyond, _nearest(lowered, info.threshold), tuning.threshold)
    return converted._replace(threshold=threshold)


def with_offset(tuning: Tuning, offset: Float[Tensor, " column"], info: TuningInfo) -> Tuning:
    """Return registers that add `offset` to the sums of each column, in LSB of its converters.

    The converters of a column share it. Each takes as much as its range allows. `tuning` is not
    changed.
    """
    tiles = torch.arange(len(tuning.adc_offset) + 1).unsqueeze(1) / len(tuning.adc_offset)
    shares = (offset / info.adc_offset.lsb * tiles).round().diff(dim=0)  # whole codes
    codes = (tuning.adc_offset + shares).clamp(info.adc_offset.code_min, info.adc_offset.code_max)
    return tuning._replace(adc_offset=codes.to(torch.int32))


def _converters(tuning: Tuning, gain: Float[Tensor, " column"], info: TuningInfo) -> Tuning:
    """Multiply the gains of converters."""
    codes = _nearest(_factor(tuning.adc_gain, info.adc_gain) * gain, info.adc_gain)
    return tuning._replace(adc_gain=codes)


def _with_readout_gain(
    tuning: Tuning, gain: Float[Tensor, " column"], rest: Float[Tensor, " column"], info: TuningInfo
) -> Tuning:
    """Multiply the digital gain of a readout by the mean rest, then set its converters."""
    if info.readout_gain is None:
        return _converters(tuning, gain, info)
    before = torch.tensor([tuning.readout_gain])
    code = _nearest(_factor(before, info.readout_gain) * rest.mean(), info.readout_gain)
    converted = _converters(tuning, gain / _achieved(before, code, info.readout_gain), info)
    return converted._replace(readout_gain=int(code))


def _achieved(
    before: Int[Tensor, "*circuit"], now: Int[Tensor, "*circuit"], register: Register
) -> Float[Tensor, "*circuit"]:
    """Return the gain from codes before to those of now."""
    return _factor(now, register) / _factor(before, register)


def _at_end(codes: Int[Tensor, "*circuit"], register: Register) -> Tensor:
    """Tell which codes are the first or the last of the register."""
    return (codes == register.code_min) | (codes == register.code_max)


def _factor(codes: Int[Tensor, "*circuit"], register: Register) -> Float[Tensor, "*circuit"]:
    """Return the factor 1 + code * lsb that codes stand for."""
    return 1 + codes.double() * register.lsb


def _nearest(factor: Float[Tensor, "*circuit"], register: Register) -> Int[Tensor, "*circuit"]:
    """Return the codes nearest to a factor, within the register's range."""
    codes = ((factor - 1) / register.lsb).round()
    return codes.clamp(register.code_min, register.code_max).to(torch.int32)
