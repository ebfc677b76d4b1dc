"""The scale and shift that a module gives its input before its first layer."""

import torch
from torch import Tensor

from ltl_core.errors import NetworkError
from ltl_core.interop.linear_maps import Scale, View
from ltl_core.interop.signals import Signal, Term
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import Shape
from ltl_core.network.spec import InputAffine


class AffineOfInput:
    """Takes one scale and shift a channel out of all values that are read from the input."""

    def __init__(self, shape: Shape) -> None:
        self._shape = tuple(shape)
        self.found: InputAffine | None = None

    def taken_from(self, signal: Signal) -> Signal:
        """Return a signal without the scale and shift of the input; others are not changed.

        Raises NetworkError if the input is read with two different ones.
        """
        if len(signal.terms) != 1 or signal.terms[0].source != INPUT:
            return signal
        maps = signal.terms[0].maps
        if not all(isinstance(link, Scale | View) for link in maps):
            return signal
        scale, shift = self._factor(signal), signal.constant
        shift = torch.zeros_like(scale) if shift is None else shift
        affine = InputAffine(scale=_by_channel(scale), shift=_by_channel(shift))
        if self.found not in (None, affine):
            raise NetworkError(
                "The module reads its input with two different scales or shifts, but a network has "
                "one in front of a convolution that pads: normalize the samples beforehand."
            )
        self.found = affine
        views = tuple(link for link in maps if isinstance(link, View))
        return Signal((Term(INPUT, views),), None, signal.shape)

    def _factor(self, signal: Signal) -> Tensor:
        values = torch.ones(1, *self._shape, dtype=torch.float64)
        for link in signal.terms[0].maps:
            values = link(values)
        return values[0]


def _by_channel(values: Tensor) -> tuple[float, ...]:
    flat = values.reshape(len(values), -1).double()
    if not bool(torch.isclose(flat, flat[:, :1], rtol=1e-9, atol=0).all()):
        raise NetworkError(
            "The module shifts or scales single pixels of its input, which no bias of a channel "
            "can: subtract the mean image from the samples beforehand."
        )
    return tuple(float(value) for value in flat[:, 0])
