"""The interface of a local rule: from what a layer did to how its currents should change."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.settings import NeuronSettings
from ltl_core.spiking.surrogate import Boxcar, Surrogate
from ltl_core.teaching.readout import ReadoutLoss


class LayerActivity(NamedTuple):
    """One hidden layer over some steps, computed or measured.

    `window` is the surrogate ds/du: 1 where |u - threshold| < width, else 0; where it is None it
    follows from the membrane. `start` is the first of the steps, `counted` the spikes before it.
    """

    spikes: Real[Tensor, "time batch *neuron"]  # bytes where they were computed
    window: Float[Tensor, "time batch *neuron"] | None
    membrane: Float[Tensor, "time batch *neuron"] | None
    target: Float[Tensor, "batch *neuron"]
    start: int = 0
    counted: Float[Tensor, "batch *neuron"] | None = None
    surrogate: Surrogate = Boxcar()

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        steps: int | slice,
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """values * g[t] at these steps."""
        if self.window is not None:
            return torch.mul(values, self.window[steps], out=out)
        if self.membrane is None:
            raise ValueError("A layer shows its window or its membrane.")
        return self.surrogate.gate(values, self.membrane[steps], neuron, out)


@runtime_checkable
class Rule(Protocol):
    """d[t], the gradient of the layer's loss by its current at step t; dW = sum_t d[t] x[t]^T."""

    @property
    def name(self) -> str: ...

    @property
    def needs_whole_window(self) -> bool:
        """Else its deltas follow from the steps so far, and memory does not grow with time."""
        ...

    def first_step(self, neuron: NeuronSettings) -> int:
        """The first step at which a delta is not zero; deltas begin there."""
        ...

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learned batch *neuron"]:
        """Of a hidden layer, for its own loss alone."""
        ...

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch output"],
        loss: ReadoutLoss,
        neuron: NeuronSettings,
        start: int = 0,
    ) -> Float[Tensor, "learned batch output"]:
        """Of the readout, whose running sums from step `start` on are `sums`."""
        ...
