"""From deltas to the change of a layer's weights and biases: dW = sum_t d[t] x[t]^T."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.network.layers import Shape, Weighted, size
from ltl_core.network.stages import Branch, Stage
from ltl_core.spiking.linear import (
    UnfoldedInput,
    add_byte_gradient,
    add_weight_gradient,
    as_weight,
    bias_gradient,
    unfold,
)
from ltl_core.spiking.neuron import sum_time

NUMBERS_AT_ONCE = 2**23  # rows, membranes and spikes of a few samples that stay in the cache
NUMBERS_AT_ONCE_ON_GPU = 2**28


class Gradient(NamedTuple):
    """Of the weights and biases of one matrix."""

    weight: Float[Tensor, "column *row"]
    bias: Float[Tensor, " column"]


class GradientSum:
    """Gradients of a network's matrices, summed in place over samples and steps.

    With bytes, deltas that meet spikes are rounded to eight bits, slice by slice of the samples.
    """

    def __init__(self, layers: Sequence[Weighted], like: Tensor, *, in_bytes: bool = False) -> None:
        self._layers, self._in_bytes = layers, in_bytes
        # Rows outermost, as the product in bytes has them; BLAS does not mind.
        self._matrices = {
            layer.name: Gradient(
                like.new_zeros(size(layer.weight_shape[1:]), layer.weight_shape[0]).T,
                like.new_zeros(layer.weight_shape[0]),
            )
            for layer in layers
        }

    def add(
        self, rows: Sequence[UnfoldedInput], deltas: Float[Tensor, "time n *output"], part: float
    ) -> None:
        """Of one stage. Rows that are one step long stand for all steps: dW = (sum_t d[t]) x^T."""
        total = sum_time(deltas)
        for unfolded in rows:
            if (layer := unfolded.branch.layer) is None:
                continue
            whole = self._matrices[layer.name]
            once = unfolded.samples == deltas.shape[1] and len(deltas) > 1
            delta = total if once else join_time(deltas)
            add = add_byte_gradient if self._in_bytes and unfolded.in_bytes else add_weight_gradient
            add(whole.weight, unfolded, delta, part)
            whole.bias.add_(bias_gradient(total), alpha=part)

    @property
    def total(self) -> dict[str, Gradient]:
        """By the name of the matrix, its weight in its own shape."""
        return {
            layer.name: Gradient(
                as_weight(layer, self._matrices[layer.name].weight), self._matrices[layer.name].bias
            )
            for layer in self._layers
        }


def stage_gradient(
    stage: Stage,
    sources: Sequence[Float[Tensor, "_time batch *_source"]],
    deltas: Float[Tensor, "learned batch *output"],
) -> dict[str, Gradient]:
    """dW = sum_t d[t] x[t]^T,  db = sum_t d[t], over the last steps, those that have deltas.

    One source a branch; a source that is one step long stands for all steps.
    """
    total = GradientSum(stage.matrices, deltas)
    for samples in sample_slices(stage, len(deltas), deltas.shape[1], deltas.device):
        rows = [
            unfold_steps(branch, values[-len(deltas) :, samples])
            for branch, values in zip(stage.branches, sources, strict=True)
        ]
        total.add(rows, deltas[:, samples], 1.0)
    return total.total


def unfold_steps(
    branch: Branch,
    source: Real[Tensor, "time n *source"],
    row_type: torch.dtype | None = None,
) -> UnfoldedInput:
    """The rows of a branch, step after step."""
    return unfold(branch, join_time(source), row_type)


def join_time(values: Real[Tensor, "time n *shape"]) -> Real[Tensor, "both *shape"]:
    """Steps and samples as one, sample after sample; channels stay innermost in memory."""
    values = values.transpose(0, 1)
    if values.dim() != 5:
        return values.flatten(0, 1)
    return values.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)


def split_time(values: Real[Tensor, "both *shape"], steps: int) -> Real[Tensor, "time n *shape"]:
    """The inverse of `join_time`."""
    split: Tensor = values.unflatten(0, (-1, steps))
    return split.transpose(0, 1)


def sample_slices(stage: Stage, steps: int, batch: int, device: torch.device) -> Iterator[slice]:
    """So many samples at a time that a layer's work on them stays in the cache."""
    numbers = steps * max(map(_numbers, stage.branches))
    most = NUMBERS_AT_ONCE if device.type == "cpu" else NUMBERS_AT_ONCE_ON_GPU
    at_once = max(1, most // numbers)
    for first in range(0, batch, at_once):
        yield slice(first, min(first + at_once, batch))


def _numbers(branch: Branch) -> int:
    layer, shape = branch.layer, branch.input_shape
    if layer is None:
        return 2 * size(shape)
    reached: Shape = layer.output_shape(shape)
    return size(reached[1:]) * size(layer.weight_shape[1:]) + 2 * size(reached)
