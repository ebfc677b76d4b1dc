"""Latent weights: float copies of the codes, moved by a rule; the student runs on their rounding.

Quantisation-aware training keeps such copies, since a single step of learning is smaller than one
code (Courbariaux et al., BinaryConnect, NeurIPS 2015).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ltl_core.chip import LayerCodes, SideWeights
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.codes import CodeFormat, as_integers, encode, encode_trim
from ltl_core.student.side_codes import side_matrix
from ltl_core.student.student import Student
from ltl_core.training.adam_state import adam_tensors, load_adam


class LearningRates(NamedTuple):
    """Learning rates in the units of the student's weights; zero leaves the codes unchanged."""

    weight: float
    bias: float
    threshold: float

    def in_codes(self, field: str, unit: float) -> float:
        """Return the rate of a field in codes a step, where one code is `unit`."""
        return float(getattr(self, field)) / unit


class StepSizes(NamedTuple):
    """How far Adam moves in a step, in codes, alike in all layers; zero leaves the codes unchanged.

    One rate in the units of weights moves layers of a small step size much further than others.
    """

    weight: float  # weight codes
    bias: float  # trim codes
    threshold: float  # trim codes

    def in_codes(self, field: str, unit: float) -> float:  # noqa: ARG002 - as `LearningRates`
        """Return the step of a field in codes, whatever one code is worth."""
        return float(getattr(self, field))


class _Layer(NamedTuple):
    weight: Tensor  # code units
    bias: Tensor  # trim codes
    threshold: Tensor  # trim codes


class LatentWeights:
    """Weights and trims of a student as floats, in units of one code, moved by Adam.

    A learning rate is given in the units of the student's weights and is divided by the size of a
    code in each layer, or as a step size in codes. Bias and threshold of a column are its shift and
    its scale: see `threshold_gradient`.
    """

    def __init__(self, student: Student, rates: LearningRates | StepSizes) -> None:
        """Start at the student's codes."""
        self._student, self._rates = student, rates
        self._layers = {
            name: _Layer(codes.weight.float(), codes.bias.float(), codes.threshold.float())
            for name, codes in student.codes.items()
        }
        self._codes = dict(student.codes)
        self._beside: dict[str, Float[Tensor, "_column _row"]] = {}  # code units
        self._given_up: Mapping[str, Bool[Tensor, "column row"]] = {}
        groups = [group for layer in student.network.matrices for group in self._groups(layer.name)]
        self._optimizer = torch.optim.Adam(groups, fused=True)

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """Codes of every layer, as of the last `update_codes`."""
        return dict(self._codes)

    def give_up(self, cells: Mapping[str, Bool[Tensor, "column row"]]) -> None:
        """Let these cells keep their codes from now on, and no others.

        A write did not bring them to their code; the other weights learn around what they are.
        """
        self._given_up = dict(cells)

    def set_side(self, side: Mapping[str, SideWeights]) -> None:
        """Tell which side weights the chip adds to these: a threshold is the scale of both."""
        self._beside = {name: side_matrix(weights) for name, weights in side.items()}

    def scale_learning_rates(self, fraction: float) -> None:
        """Set every learning rate to this fraction of its full value, from now on."""
        for group in self._optimizer.param_groups:
            group["lr"] = fraction * group["full_lr"]

    def set_gradient(self, name: str, gradient: Gradient, *, trims_only: bool = False) -> None:
        """Keep the gradient of a matrix for `step`. Its scale does not matter to Adam."""
        layer, rates = self._layers[name], self._rates
        layer.bias.grad = gradient.bias if rates.bias else None
        moved = rates.weight and not trims_only
        # Adam's fused form ignores strides.
        layer.weight.grad = gradient.weight.flatten(1).contiguous() if moved else None
        if rates.threshold and name != self._student.network.stages[-1].name:
            layer.threshold.grad = threshold_gradient(*self._floats(name), gradient)

    def step(self, noise_floor: float = 0.0) -> None:
        """Take one step of Adam, and clip the latent weights to the range of the codes.

        Adam moves a weight by the mean of its gradients as a fraction of their root mean square,
        which is near one if they agree and about 0.2 if they are noise. With a `noise_floor`
        weights move by what the fraction is above it (a soft threshold, scaled so that the largest
        step stays), so that those without a consistent gradient keep their codes.
        """
        before = (
            {n: layer.weight.clone() for n, layer in self._layers.items()} if noise_floor else {}
        )
        self._optimizer.step()
        for name, old in before.items():
            _shrink_(self._layers[name].weight, old, self._rate(name), noise_floor)
        form = self._student.format
        for layer in self._layers.values():
            layer.weight.clamp_(-form.weight_max, form.weight_max)
            layer.bias.clamp_(form.trim_min, form.trim_max)
            layer.threshold.clamp_(form.trim_min, form.trim_max)

    def update_codes(
        self, margin: float = 0.0, cells_max: int | None = None
    ) -> dict[str, LayerCodes]:
        """Round the latent weights to codes and return these.

        A weight's code stays until its latent weight is more than half a code plus `margin` (in
        codes) away: a rewritten cell draws new programming noise, so small moves do not repay
        their write. If more than `cells_max` codes would change, those do that are farthest away.
        """
        codes = {name: self._rounded(name, margin) for name in self._layers}
        if cells_max is not None:
            away = {n: self._away(n, layer.weight) for n, layer in codes.items()}
            least = _nth_largest(torch.cat([of.flatten() for of in away.values()]), cells_max)
            for name, layer in codes.items():
                kept = torch.where(away[name] > least, layer.weight, self._codes[name].weight)
                codes[name] = layer._replace(weight=kept)
        self._codes = codes
        return self.codes

    def _rounded(self, name: str, margin: float) -> LayerCodes:
        before = self._codes[name]
        codes = _round(self._layers[name], before, margin, self._student.format)
        if name in self._given_up:
            kept = torch.where(self._given_up[name], before.weight, codes.weight)
            codes = codes._replace(weight=kept)
        return codes

    def _away(self, name: str, weight: Int[Tensor, "column row"]) -> Float[Tensor, "column row"]:
        """Return how far latent weights are from their codes, in codes; zero where these stay."""
        before = self._codes[name].weight
        return (self._layers[name].weight - before).abs() * (weight != before)

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the latent weights, the codes and Adam's moments, for a checkpoint."""
        parameters = self._parameters()
        latent = {f"shadow:{name}": tensor.clone() for name, tensor in parameters.items()}
        codes = {
            f"codes:{name}.{field}": tensor.clone()
            for name, layer in self._codes.items()
            for field, tensor in layer._asdict().items()
        }
        return latent | adam_tensors(self._optimizer, parameters) | codes

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        parameters = self._parameters()
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"shadow:{name}"])
        load_adam(self._optimizer, parameters, tensors)
        for name in self._codes:
            fields = (tensors[f"codes:{name}.{field}"] for field in LayerCodes._fields)
            self._codes[name] = LayerCodes(*fields)

    def _floats(self, name: str) -> tuple[Float[Tensor, "column row"], Float[Tensor, " column"]]:
        """Return weights and biases of a matrix as fractions of the threshold."""
        layer, threshold = self._layers[name], self._student.threshold(name)
        weight = layer.weight + self._beside[name] if name in self._beside else layer.weight
        return weight / threshold, layer.bias * self._student.format.trim_lsb

    def _rate(self, name: str) -> float:
        """Return the learning rate of a matrix's weights now, in codes."""
        weight = self._layers[name].weight
        for group in self._optimizer.param_groups:
            if group["params"][0] is weight:
                return float(group["lr"])
        raise KeyError(name)

    def _groups(self, name: str) -> list[dict[str, object]]:
        """Return the parameter groups of a matrix, one a field, with rates converted to codes."""
        lsb = self._student.lsb[name]
        trim_lsb = lsb * self._student.bias_lsb(name)
        units = {"weight": lsb, "bias": trim_lsb, "threshold": trim_lsb}
        groups: list[dict[str, object]] = []
        for field, unit in units.items():
            rate = self._rates.in_codes(field, unit)
            parameter = getattr(self._layers[name], field)
            groups.append({"params": [parameter], "lr": rate, "full_lr": rate})
        return groups

    def _parameters(self) -> dict[str, Tensor]:
        return {
            f"{name}.{field}": parameter
            for name, layer in self._layers.items()
            for field, parameter in layer._asdict().items()
        }


def threshold_gradient(
    weight: Float[Tensor, "column row"], bias: Float[Tensor, " column"], gradient: Gradient
) -> Float[Tensor, " column"]:
    """Return dL/dT = -(sum_j w_j dL/dw_j + b dL/db) for each column, with T in units of itself.

    `weight` and `bias` are fractions of the threshold T. A neuron that starts from zero spikes
    alike if its sums, bias and threshold grow by one factor, whatever its leak and its reset: the
    derivatives by the logarithms of the three add up to nothing.
    """
    return -((weight * gradient.weight.flatten(1)).sum(1) + bias * gradient.bias)


def _shrink_(
    moved: Float[Tensor, "column row"],
    before: Float[Tensor, "column row"],
    rate: float,
    floor: float,
) -> None:
    """Replace each step, as a fraction f of the rate, by sign(f) max(|f| - floor, 0) / (1 - floor).

    Writes over `moved`.
    """
    if not rate:
        return
    fraction = moved.sub_(before).div_(rate)
    shrunk = torch.nn.functional.softshrink(fraction, floor)
    moved.copy_(before).add_(shrunk, alpha=rate / (1 - floor))


def _nth_largest(values: Float[Tensor, " cell"], count: int) -> float:
    """Return the value that `count` values at most exceed; zero if that many are not positive."""
    if count >= int((values > 0).sum()):
        return 0.0
    return float(values.topk(count + 1).values[-1])


def _round(layer: _Layer, before: LayerCodes, margin: float, form: CodeFormat) -> LayerCodes:
    weight = encode(layer.weight, form)
    if margin:
        moved = (layer.weight - before.weight).abs() > 0.5 + margin
        weight = torch.where(moved, weight, before.weight.float())
    return LayerCodes(
        as_integers(weight),
        as_integers(encode_trim(layer.bias, form)),
        as_integers(encode_trim(layer.threshold, form)),
    )
