"""Weights that give a teacher's activations, where the teacher's own weights are not known.

Each layer is fitted by itself, from what it reads to what it puts out, both as they were collected.
An activation of zero says only that the column sum is not positive, and one at the top of the scale
only that it is not below: such a sum costs nothing. So the loss is convex, and has no dead neurons.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ltl_core.at_once import NUMBERS_FITTED
from ltl_core.errors import ForeignActivationsError
from ltl_core.network.layers import Conv2d, size
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Branch, Stage
from ltl_core.spiking.gradient import GradientSum
from ltl_core.spiking.linear import as_matrix, as_weight, branch_weights, weighted_sums
from ltl_core.spiking.unfolding import UnfoldedInput, lines, unfold
from ltl_core.teaching.targets import Batch, TargetSet, evenly_spaced_indices
from ltl_core.teaching.teacher import still_inputs

_SAMPLES_LEAST = 16
_ITERATIONS = 40
_RIDGE = 1e-6  # of the weights, where the samples are too few to tell them
_TOP = 254.5 / 255  # a rate that is stored as the highest level
# Of the variance. Activations of three networks left 0.008 at most; in another order of samples,
# which is far from what the network can do, they left 0.37 at least (tests of this module).
_FOREIGN = 0.1
_CONSTANT = 1e-6  # deviation of an input that never changes, as a fraction of the largest
_NO_VARIANCE = 1e-4  # of rates that differ by no more than their rounding


class FittedWeights(NamedTuple):
    """Weights in the form of the teacher's, and what they leave of each layer's activations."""

    weights: dict[str, Tensor]
    unexplained: dict[str, float]  # fraction of the variance that is left, by stage


def fit_weights(network: NetworkSpec, targets: TargetSet) -> FittedWeights:
    """Return weights with which the network computes the target rates, nearly.

    Raises ForeignActivationsError for rates that the network cannot have computed.
    """
    weights: dict[str, Tensor] = {}
    unexplained: dict[str, float] = {}
    for stage in network.stages:
        fit = _StageFit(network, stage, targets)
        weights |= fit.solved()
        unexplained[stage.name] = left = fit.unexplained()
        if left > _FOREIGN:
            raise ForeignActivationsError(stage.name, left)
    return FittedWeights(weights, unexplained)


class _StageFit:
    """Fits the matrices of one stage, with inputs of mean 0 and deviation 1, and outputs about 1.

    Rates are never negative: without that the fit takes several times as many iterations.
    """

    def __init__(self, network: NetworkSpec, stage: Stage, targets: TargetSet) -> None:
        self._stage = stage
        count = max(_SAMPLES_LEAST, NUMBERS_FITTED // sum(map(_numbers, stage.branches)))
        batch = targets.take(evenly_spaced_indices(targets.size, count))
        self._unit = _unit(stage, targets)
        self._inputs = [
            _standardised(branch, _source(network, branch, batch, targets.scales), self._unit)
            for branch in stage.branches
        ]
        self._goal = _goal(stage, batch, self._unit)
        self._zero, self._top = _one_sided(stage, self._goal)
        self._fitted = {
            f"{layer.name}.{part}": self._goal.new_zeros(shape)
            for layer in stage.matrices
            for part, shape in (("weight", layer.weight_shape), ("bias", layer.weight_shape[:1]))
        }

    def solved(self) -> dict[str, Tensor]:
        """Fit the matrices; return them in the teacher's units."""
        optimizer = torch.optim.LBFGS(
            list(self._fitted.values()),
            max_iter=_ITERATIONS,
            history_size=20,
            tolerance_grad=1e-6,
            tolerance_change=1e-8,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(self._loss)
        found: dict[str, Tensor] = {}
        for rows, mean, deviation in self._inputs:
            if (layer := rows.branch.layer) is not None:
                weight = as_matrix(layer, self._fitted[f"{layer.name}.weight"]) / deviation
                bias = self._fitted[f"{layer.name}.bias"] - weight @ mean.expand(weight.shape[1])
                found[f"{layer.name}.weight"] = as_weight(layer, weight).contiguous() * self._unit
                found[f"{layer.name}.bias"] = bias * self._unit
        return found

    def unexplained(self) -> float:
        """Return the fraction of the variance of each column that is left, over all columns."""
        columns = lines(self._goal)
        variance = float((columns - columns.mean(0)).square().mean())
        return float(self._residual().square().mean()) / max(variance, _NO_VARIANCE)

    def _loss(self) -> float:
        """Return half the mean square of what is left, and keep its gradient for the optimizer."""
        residual, count = self._residual(), self._goal.numel()
        gradient = GradientSum(self._stage.matrices, self._goal)
        rows = [given.rows for given in self._inputs]
        gradient.add(rows, residual.unsqueeze(0), 1 / count)
        loss = 0.5 * float(residual.square().sum()) / count
        for name, found in gradient.total.items():
            weight, bias = self._fitted[f"{name}.weight"], self._fitted[f"{name}.bias"]
            weight.grad = found.weight.contiguous().add_(weight, alpha=_RIDGE)
            bias.grad = found.bias
            loss += 0.5 * _RIDGE * float(weight.square().sum())
        return loss

    def _residual(self) -> Float[Tensor, "sample *neuron"]:
        weights = branch_weights(self._stage, self._fitted)
        residual = -self._goal
        for given, weight in zip(self._inputs, weights, strict=True):
            residual = residual + weighted_sums(given.rows, weight)
        free = (self._zero & (residual < 0)) | (self._top & (residual > 0))
        return residual.masked_fill_(free, 0)


class _Standardised(NamedTuple):
    """The unfolded input of a branch, less its mean and divided by its deviation, row by row."""

    rows: UnfoldedInput
    mean: Float[Tensor, " _row"]
    deviation: Float[Tensor, " _row"]


def _standardised(
    branch: Branch, source: Float[Tensor, "sample *source"], unit: float
) -> _Standardised:
    """Unfold what a branch reads; a straight branch and a grouped convolution keep their mean.

    The first is a part of the sums, in outputs of this unit; the second is not unfolded, and what
    pads it stays zero.
    """
    rows = unfold(branch, source)
    values = rows.values
    if branch.layer is None:
        mean, deviation = values.new_zeros(1), values.new_full((1,), unit)
    elif isinstance(branch.layer, Conv2d) and branch.layer.groups != 1:
        mean, deviation = values.new_zeros(1), values.square().mean().sqrt().reshape(1)
    else:
        mean, deviation = values.mean(0), values.std(0, correction=0)
        constant = deviation <= _CONSTANT * values.abs().max()
        deviation = deviation.masked_fill(constant, 1.0)
    deviation = deviation.masked_fill(deviation == 0, 1.0)
    return _Standardised(rows._replace(values=(values - mean) / deviation), mean, deviation)


def _numbers(branch: Branch) -> int:
    """Return how many numbers one sample of a branch unfolds to."""
    if branch.layer is None:
        return size(branch.input_shape)
    positions = size(branch.layer.output_shape(branch.input_shape)[1:])
    return positions * size(branch.layer.weight_shape[1:])


def _unit(stage: Stage, targets: TargetSet) -> float:
    """Return what stands for one in the outputs of a stage, in the teacher's units."""
    if stage.is_readout:
        return float(_logits(targets).std(correction=0)) or 1.0
    return targets.scales[stage.name]


def _goal(stage: Stage, batch: Batch, unit: float) -> Float[Tensor, "sample *neuron"]:
    return _logits(batch) / unit if stage.is_readout else batch.rates[stage.name]


def _source(
    network: NetworkSpec, branch: Branch, batch: Batch, scales: Mapping[str, float]
) -> Float[Tensor, "sample *source"]:
    """Return what a branch reads, in the teacher's units."""
    if branch.source is None:
        return still_inputs(network, batch.inputs)
    return batch.rates[branch.source] * scales[branch.source]


def _one_sided(
    stage: Stage, goal: Float[Tensor, "sample *neuron"]
) -> tuple[Bool[Tensor, "sample *neuron"], Bool[Tensor, "sample *neuron"]]:
    """Return where a sum may be below its goal, and where above."""
    if stage.is_readout:
        nowhere = torch.zeros_like(goal, dtype=torch.bool)
        return nowhere, nowhere
    return goal <= 0, goal >= _TOP


def _logits(found: TargetSet | Batch) -> Float[Tensor, "sample output"]:
    """Return the teacher's logits. Raises ValueError if there are none."""
    if found.logits is None:
        raise ValueError("Weights are fitted to targets with the teacher's logits.")
    return found.logits
