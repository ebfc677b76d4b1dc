"""The interface of rules that are not local: the readout's error goes back through all layers."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import Weights
from ltl_core.spiking.gradient import Gradient
from ltl_core.spiking.linear import as_weight, branch_weights, input_gradient
from ltl_core.spiking.unfolding import join_time, split_time
from ltl_core.teaching.readout import ReadoutLoss


class Model(NamedTuple):
    """A student in float weights."""

    network: NetworkSpec
    weights: Weights
    neuron: NeuronSettings


class EndToEndResult(NamedTuple):
    """Gradients of one batch, by matrix and by tensor of the rule's state, and the logits."""

    gradients: dict[str, Gradient]
    state_gradients: dict[str, Tensor]
    logits: Float[Tensor, "batch output"]


@runtime_checkable
class EndToEndRule(Protocol):
    """A rule that needs the whole student at once.

    Its memory grows with the number of layers and, except for Tandem Learning, of steps.
    """

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        ...

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors that the rule holds besides the student's weights; a checkpoint keeps them.

        They are changed in place. Those with a gradient in `EndToEndResult.state_gradients` are
        trained by Adam.
        """
        ...

    def begin_epoch(
        self, fraction_done: float, model: Model, inputs: Tensor, loss: ReadoutLoss
    ) -> None:
        """Choose what the rule chooses once an epoch, on one batch.

        `fraction_done` is the fraction of the training that is done, from 0 to 1.
        """
        ...

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Return the gradients of the readout's loss on one batch."""
        ...


def errors_below(
    stage: Stage, weights: Weights, deltas: Float[Tensor, "time batch *output"]
) -> Iterator[tuple[str, Float[Tensor, "time batch *_source"]]]:
    """Yield, for each stage that feeds this one, its name and its error sum_i W_ij d_i[t]."""
    for branch, weight in zip(stage.branches, branch_weights(stage, weights), strict=True):
        if branch.source is not None:
            matrix = weight.matrix
            whole = matrix if branch.layer is None else as_weight(branch.layer, matrix)
            below = input_gradient(branch, whole, join_time(deltas))
            yield branch.source, split_time(below, len(deltas))
