"""Float copies of the codes that a rule moves; what is computed or programmed is their rounding."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.chip import LayerCodes
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.codes import CodeFormat, as_integers, encode, encode_trim
from ltl_core.student.student import Student


class Rates(NamedTuple):
    """Learning rates in the units of the student's weights; zero leaves the codes alone."""

    weight: float
    bias: float
    threshold: float


class _Layer(NamedTuple):
    weight: Tensor  # code units
    bias: Tensor  # trim codes
    threshold: Tensor  # trim codes


class Shadow:
    """Weights and trims as floats, in codes, moved by Adam.

    A rate is given in the units of the student's weights, one for all layers; a code of each
    layer is so many of those units. A threshold that rises is as good as a sum that falls:
    dL/dthreshold = -dL/db.
    """

    def __init__(self, student: Student, rates: Rates) -> None:
        self._student, self._rates = student, rates
        self._layers = {
            name: _Layer(codes.weight.float(), codes.bias.float(), codes.threshold.float())
            for name, codes in student.codes.items()
        }
        self._emitted = dict(student.codes)
        groups = [group for layer in student.network.matrices for group in self._groups(layer.name)]
        self._optimizer = torch.optim.Adam(groups, fused=True)

    @property
    def emitted(self) -> dict[str, LayerCodes]:
        """The codes that were last given out."""
        return dict(self._emitted)

    def scale_rates(self, part: float) -> None:
        """This part of each learning rate, from now on."""
        for group in self._optimizer.param_groups:
            group["lr"] = part * group["full_lr"]

    def hold(self, name: str, gradient: Gradient, *, trims_only: bool = False) -> None:
        """Keep a matrix's gradient until `step`. Adam does not mind its units."""
        layer, rates = self._layers[name], self._rates
        layer.bias.grad = gradient.bias if rates.bias else None
        moved = rates.weight and not trims_only
        # Adam's fused form does not look at strides.
        layer.weight.grad = gradient.weight.flatten(1).contiguous() if moved else None
        if rates.threshold and name != self._student.network.stages[-1].name:
            layer.threshold.grad = -gradient.bias

    def step(self) -> None:
        """One step of Adam; the shadow stays within reach of the codes."""
        self._optimizer.step()
        form = self._student.format
        for layer in self._layers.values():
            layer.weight.clamp_(-form.weight_max, form.weight_max)
            layer.bias.clamp_(form.trim_min, form.trim_max)
            layer.threshold.clamp_(form.trim_min, form.trim_max)

    def emit(self, margin: float = 0.0) -> dict[str, LayerCodes]:
        """The nearest codes.

        A weight's code is left alone until its shadow is more than half a code and `margin` away:
        a rewritten cell draws new programming noise, so small moves are not worth their write.
        """
        for name, layer in self._layers.items():
            self._emitted[name] = _round(layer, self._emitted[name], margin, self._student.format)
        return self.emitted

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the shadow, the codes given out, and Adam's moments."""
        kept: dict[str, Tensor] = {}
        for name, parameter in self._parameters().items():
            kept[f"shadow:{name}"] = parameter.clone()
            for key, value in self._optimizer.state[parameter].items():
                kept[f"adam:{name}:{key}"] = value.clone()
        for name, codes in self._emitted.items():
            for field, tensor in codes._asdict().items():
                kept[f"codes:{name}.{field}"] = tensor.clone()
        return kept

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, parameter in self._parameters().items():
            parameter.copy_(tensors[f"shadow:{name}"])
            prefix = f"adam:{name}:"
            moments = {
                k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
            }
            if moments:
                self._optimizer.state[parameter] = {k: v.clone() for k, v in moments.items()}
        for name in self._emitted:
            fields = (tensors[f"codes:{name}.{field}"] for field in LayerCodes._fields)
            self._emitted[name] = LayerCodes(*fields)

    def _groups(self, name: str) -> list[dict[str, object]]:
        """One group a field, its rate converted from weight units to codes."""
        lsb = self._student.lsb[name]
        trim_lsb = lsb * self._student.bias_lsb(name)
        units = {"weight": lsb, "bias": trim_lsb, "threshold": trim_lsb}
        groups: list[dict[str, object]] = []
        for field, unit in units.items():
            rate = getattr(self._rates, field) / unit
            parameter = getattr(self._layers[name], field)
            groups.append({"params": [parameter], "lr": rate, "full_lr": rate})
        return groups

    def _parameters(self) -> dict[str, Tensor]:
        return {
            f"{name}.{field}": parameter
            for name, layer in self._layers.items()
            for field, parameter in layer._asdict().items()
        }


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
