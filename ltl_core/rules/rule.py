"""The interface of a learning rule: from what a layer did to how its currents should change."""

from typing import NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.settings import NeuronSettings


class LayerActivity(NamedTuple):
    """One hidden layer over one window, computed or measured.

    `window` is the surrogate ds/du: 1 where |u - threshold| < width, else 0.
    """

    spikes: Float[Tensor, "time batch *neuron"]
    window: Float[Tensor, "time batch *neuron"]
    membrane: Float[Tensor, "time batch *neuron"] | None
    target: Float[Tensor, "batch *neuron"]


class Rule(Protocol):
    """d[t], the gradient of the layer's loss by its current at step t; dW = sum_t d[t] x[t]^T."""

    @property
    def name(self) -> str: ...

    @property
    def needs_membrane(self) -> bool: ...

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
        sums: Float[Tensor, "time batch class"],
        labels: Int[Tensor, " batch"],
        neuron: NeuronSettings,
    ) -> Float[Tensor, "learned batch class"]:
        """Of the readout, whose running sums are `sums`, for the cross-entropy."""
        ...
