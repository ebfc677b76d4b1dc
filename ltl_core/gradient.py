"""From deltas to the change of a layer's weights and biases: dW = sum_t d[t] x[t]^T."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ltl_core.layers import bias_gradient, weight_gradient
from ltl_core.network import Stage


class Gradient(NamedTuple):
    """Of one layer's loss."""

    weight: Float[Tensor, "column *row"]
    bias: Float[Tensor, " column"]


def layer_gradient(
    stage: Stage,
    rows: Float[Tensor, "time batch *input"],
    deltas: Float[Tensor, "learned batch *output"],
) -> Gradient:
    """dW = sum_t d[t] x[t]^T,  db = sum_t d[t], over the last steps, those that have deltas.

    Rows that are one step long stand for all steps: then dW = (sum_t d[t]) x^T.
    """
    total = deltas.sum(0)
    if len(rows) == 1:
        weight = weight_gradient(stage, rows[0], total)
    else:
        seen = rows[-len(deltas) :].flatten(0, 1)
        weight = weight_gradient(stage, seen, deltas.flatten(0, 1))
    return Gradient(weight, bias_gradient(total))
