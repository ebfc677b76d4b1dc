"""Surrogate gradients: what stands for ds/du, the derivative of a spike by its membrane.

Every surrogate has one verb, `gate`: values times ds/du. Each pass over memory counts here, so the
closed forms are written with torch's own kernels for "pass on where low < u < high".
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.settings import NeuronSettings


@runtime_checkable
class Surrogate(Protocol):
    """A function of the membrane that stands for ds/du."""

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        membrane: Float[Tensor, "*shape"],
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """Return values * ds/du, in `out` if it is given."""
        ...


class Boxcar(NamedTuple):
    """ds/du = 1 where |u - threshold| < width, else 0 (LTL, Yang et al., NeurIPS 2022)."""

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        membrane: Float[Tensor, "*shape"],
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """Return the values inside the window around the threshold, zeros outside."""
        low, high = (neuron.threshold + sign * neuron.surrogate_width for sign in (-1, 1))
        return between(values, membrane, low, high, out)


class Dspike(NamedTuple):
    """The slope of Dspike (Li et al., NeurIPS 2021) at x = u / (2 threshold), within [0, 1].

    D(x; b) = (tanh(b (x - 1/2)) + tanh(b/2)) / (2 tanh(b/2));  ds/du = D'(x; b) / (2 threshold)
    """

    temperature: float  # b, without unit

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        membrane: Float[Tensor, "*shape"],
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """Return values * D'(x; b) / (2 threshold)."""
        b, double = self.temperature, 2 * neuron.threshold
        slope = 1 - torch.tanh(membrane * (b / double) - b / 2).square()
        slope *= b / (2 * math.tanh(b / 2) * double)
        return between(slope * values, membrane, 0.0, double, out)


def between(
    values: Float[Tensor, "*shape"],
    judged: Float[Tensor, "*shape"],
    low: float,
    high: float,
    out: Tensor | None = None,
) -> Float[Tensor, "*shape"]:
    """Return values where low < judged < high, else 0, in one pass over memory."""
    out = torch.empty_like(values) if out is None else out
    torch.ops.aten.hardtanh_backward.grad_input(values, judged, low, high, grad_input=out)
    return out
