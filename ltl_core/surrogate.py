"""Surrogate gradients: the backward of `spike`, nothing else.

Every surrogate has one verb, `gate`: values times ds/du. Each pass over memory counts here, so the
closed forms are written with torch's own kernels for "pass on where low < u < high".
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.settings import NeuronSettings


class Surrogate(Protocol):
    """What stands for ds/du."""

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        membrane: Float[Tensor, "*shape"],
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """values * ds/du."""
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
        """The values inside of the window, zeros outside."""
        low, high = (neuron.threshold + sign * neuron.surrogate_width for sign in (-1, 1))
        return between(values, membrane, low, high, out)


def between(
    values: Float[Tensor, "*shape"],
    judged: Float[Tensor, "*shape"],
    low: float,
    high: float,
    out: Tensor | None = None,
) -> Float[Tensor, "*shape"]:
    """values where low < judged < high, else 0: one pass."""
    out = torch.empty_like(values) if out is None else out
    torch.ops.aten.hardtanh_backward.grad_input(values, judged, low, high, grad_input=out)
    return out
