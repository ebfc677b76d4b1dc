"""The gradient of a layer's weights and biases from its deltas: dW = sum_t d[t] x[t]^T."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_weight

from ltl_core.at_once import NUMBERS_AT_ONCE, NUMBERS_AT_ONCE_ON_GPU
from ltl_core.network.layers import Conv2d, Shape, Weighted, size
from ltl_core.network.stages import Branch, Stage
from ltl_core.spiking.byte_products import add_outer_product, quantise_deltas, transpose
from ltl_core.spiking.linear import as_matrix, as_weight
from ltl_core.spiking.neuron import sum_time
from ltl_core.spiking.unfolding import UnfoldedInput, join_time, lines, patches, unfold_steps

# BLAS sums the product of a thin matrix with its rows outermost in one long chain: of 32,768 lines
# and four columns it was 14 times less exact than the plain product, and took four times as long
# (AMD EPYC with AVX-512).
_FEW_COLUMNS = 16


class Gradient(NamedTuple):
    """Gradient of a loss by the weights and biases of one matrix."""

    weight: Float[Tensor, "column *row"]
    bias: Float[Tensor, " column"]


class GradientSum:
    """Gradients of a network's matrices, summed in place over samples and steps.

    With `in_bytes`, deltas that meet spikes are rounded to eight bits, slice by slice of samples.
    """

    def __init__(self, layers: Sequence[Weighted], like: Tensor, *, in_bytes: bool = False) -> None:
        """Start at zero, with the number type and device of `like`."""
        self._layers, self._in_bytes = layers, in_bytes
        # Rows are outermost, as the product in bytes needs them; BLAS takes either order.
        self._matrices = {
            layer.name: Gradient(
                like.new_zeros(size(layer.weight_shape[1:]), layer.weight_shape[0]).T,
                like.new_zeros(layer.weight_shape[0]),
            )
            for layer in layers
        }

    def add(
        self,
        inputs: Sequence[UnfoldedInput],
        deltas: Float[Tensor, "time n *output"],
        fraction: float,
    ) -> None:
        """Add `fraction` times the gradients of one stage; `inputs` has one entry a branch.

        An input that is one step long is the input of all steps: dW = (sum_t d[t]) x^T.
        """
        total = sum_time(deltas)
        for unfolded in inputs:
            if (layer := unfolded.branch.layer) is None:
                continue
            gradient = self._matrices[layer.name]
            once = unfolded.samples == deltas.shape[1] and len(deltas) > 1
            delta = total if once else join_time(deltas)
            in_bytes = self._in_bytes and unfolded.in_bytes
            add = add_byte_gradient if in_bytes else add_weight_gradient
            add(gradient.weight, unfolded, delta, fraction)
            gradient.bias.add_(bias_gradient(total), alpha=fraction)

    @property
    def total(self) -> dict[str, Gradient]:
        """Gradients by the name of the matrix, each weight in its layer's own shape."""
        return {
            layer.name: Gradient(
                as_weight(layer, self._matrices[layer.name].weight), self._matrices[layer.name].bias
            )
            for layer in self._layers
        }


def stage_gradient(
    stage: Stage,
    sources: Sequence[Float[Tensor, "_time batch *_source"]],
    deltas: Float[Tensor, "learning_time batch *output"],
) -> dict[str, Gradient]:
    """Return dW = sum_t d[t] x[t]^T and db = sum_t d[t] for the matrices of one stage.

    There is one source a branch; a source that is one step long is the source of all steps. The
    deltas belong to the last steps of the sources.
    """
    gradients = GradientSum(stage.matrices, deltas)
    for samples in sample_slices(stage, len(deltas), deltas.shape[1], deltas.device):
        inputs = [
            unfold_steps(branch, values[-len(deltas) :, samples])
            for branch, values in zip(stage.branches, sources, strict=True)
        ]
        gradients.add(inputs, deltas[:, samples], 1.0)
    return gradients.total


def add_weight_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    fraction: float,
) -> None:
    """Add fraction * sum_n delta_i[n] x_j[n] to `total`, in place."""
    layer = rows.branch.layer
    if isinstance(layer, Conv2d) and layer.groups != 1:
        gradient = conv2d_weight(
            rows.values, layer.weight_shape, delta, layer.stride, layer.padding, 1, layer.groups
        )
        total.add_(as_matrix(layer, gradient), alpha=fraction)
        return
    values = rows.values
    if isinstance(layer, Conv2d) and rows.in_bytes:
        values = patches(layer, values, rows.output_shape, delta.dtype)
    if len(total) < _FEW_COLUMNS:
        total.add_(lines(delta).T @ values.to(delta.dtype), alpha=fraction)
        return
    total.addmm_(lines(delta).T, values.to(delta.dtype), alpha=fraction)


def add_byte_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    fraction: float,
) -> None:
    """Add the gradient of an input in bytes to `total`, in place, with the deltas rounded to bytes.

    The rows of `total` must be outermost in memory.
    """
    layer, deltas = rows.branch.layer, quantise_deltas(delta)
    if layer is not None and deltas is not None:
        transposed = transpose(layer, rows.values, rows.output_shape[1:])
        add_outer_product(total.T, transposed, deltas, fraction)


def bias_gradient(delta: Float[Tensor, "n column *position"]) -> Float[Tensor, " column"]:
    """Return the sum of the deltas over samples and positions."""
    return lines(delta).sum(0)


def sample_slices(stage: Stage, steps: int, batch: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of the batch, so small that a layer's work on each stays in the cache."""
    numbers = steps * max(map(_numbers, stage.branches))
    most = NUMBERS_AT_ONCE if device.type == "cpu" else NUMBERS_AT_ONCE_ON_GPU
    at_once = max(1, most // numbers)
    for first in range(0, batch, at_once):
        yield slice(first, min(first + at_once, batch))


def _numbers(branch: Branch) -> int:
    """Return how many numbers one sample of a branch takes at one step."""
    layer, shape = branch.layer, branch.input_shape
    if layer is None:
        return 2 * size(shape)
    reached: Shape = layer.output_shape(shape)
    return size(reached[1:]) * size(layer.weight_shape[1:]) + 2 * size(reached)
