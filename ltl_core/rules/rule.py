"""The interface of a local rule: from what a layer did to how its currents should change."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.settings import NeuronSettings
from ltl_core.spiking.surrogate import Boxcar, Surrogate
from ltl_core.teaching.readout import ReadoutLoss


class LayerActivity(NamedTuple):
    """One hidden layer over some steps, computed or measured, and the rates it should have.

    `window` is the surrogate ds/du: 1 where |u - threshold| < width, else 0. If it is None, the
    surrogate is computed from `membrane`; one of the two must be there. Potentials are in the
    units of the neuron's threshold.
    """

    spikes: Real[Tensor, "time batch *neuron"]  # bytes if they were computed
    window: Float[Tensor, "time batch *neuron"] | None
    membrane: Float[Tensor, "time batch *neuron"] | None
    target: Float[Tensor, "batch *neuron"]  # rates in [0, 1]
    start: int = 0  # index of the first of these steps
    counted: Float[Tensor, "batch *neuron"] | None = None  # spikes before `start`; None: no spikes
    surrogate: Surrogate = Boxcar()

    def gate(
        self,
        values: Float[Tensor, "*shape"],
        steps: int | slice,
        neuron: NeuronSettings,
        out: Tensor | None = None,
    ) -> Float[Tensor, "*shape"]:
        """Return values * ds/du at these steps, in `out` if it is given.

        Raises ValueError if the layer has neither a window nor a membrane.
        """
        if self.window is not None:
            return torch.mul(values, self.window[steps], out=out)
        if self.membrane is None:
            raise ValueError("A layer's activity needs its window or its membrane.")
        return self.surrogate.gate(values, self.membrane[steps], neuron, out)


@runtime_checkable
class Rule(Protocol):
    """A local rule: each layer learns from its own activity and its own loss.

    A delta d[t] is the gradient of the layer's loss by its current at step t; the gradient of the
    weights follows from it: dW = sum_t d[t] x[t]^T.
    """

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        ...

    @property
    def needs_whole_window(self) -> bool:
        """Whether a delta depends on later steps.

        If not, the deltas are computed a few steps at a time, and memory does not grow with time.
        """
        ...

    def first_step(self, neuron: NeuronSettings) -> int:
        """Return the first step at which the rule learns; deltas begin there."""
        ...

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learning_time batch *neuron"]:
        """Return the deltas of a hidden layer, for its own loss alone."""
        ...

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch output"],
        loss: ReadoutLoss,
        neuron: NeuronSettings,
        start: int = 0,
    ) -> Float[Tensor, "learning_time batch output"]:
        """Return the deltas of the readout, whose running sums from step `start` on are `sums`."""
        ...
