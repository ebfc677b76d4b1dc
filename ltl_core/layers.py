"""The linear part of a layer: pooling, the product with the weights, and the gradient of that.

Teacher, student and the host's view of a chip share these three functions.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_weight

from ltl_core.network import Linear, Stage


def gather(stage: Stage, values: Float[Tensor, "n *source"]) -> Float[Tensor, "n *input"]:
    """What the rows of a stage see: its source, pooled, and flat in front of a linear layer."""
    for pool in stage.pools:
        values = F.avg_pool2d(values, pool.kernel, pool.stride)
    return values.flatten(1) if isinstance(stage.layer, Linear) else values


def multiply(
    stage: Stage, weight: Float[Tensor, "column *row"], rows: Float[Tensor, "n *input"]
) -> Float[Tensor, "n *output"]:
    """Column sums: sum_j W_ij x_j."""
    layer = stage.layer
    if isinstance(layer, Linear):
        return F.linear(rows, weight)
    return F.conv2d(rows, weight, None, layer.stride, layer.padding, 1, layer.groups)


def weight_gradient(
    stage: Stage, rows: Float[Tensor, "n *input"], delta: Float[Tensor, "n *output"]
) -> Float[Tensor, "column *row"]:
    """sum_n delta_i[n] x_j[n], of the shape of the weight."""
    layer = stage.layer
    if isinstance(layer, Linear):
        return delta.T @ rows
    gradient: Tensor = conv2d_weight(
        rows, layer.weight_shape, delta, layer.stride, layer.padding, 1, layer.groups
    )
    return gradient


def bias_gradient(delta: Float[Tensor, "n column *position"]) -> Float[Tensor, " column"]:
    """sum over samples and positions."""
    return delta.transpose(0, 1).flatten(1).sum(1)


def per_column(values: Float[Tensor, " column"], stage: Stage) -> Float[Tensor, "column *one"]:
    """A number a column, shaped so that it broadcasts over [..., column, *position]."""
    return values.view(-1, *[1] * (len(stage.output_shape) - 1))
