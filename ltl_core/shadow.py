"""Float copies of the codes that a rule moves; what is computed or programmed is their rounding."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ltl_core.codes import as_integers, encode, encode_trim
from ltl_core.gradient import Gradient
from ltl_core.network import Stage
from ltl_core.student import LayerCodes, Student, zero_trims


class Shadow:
    """Float copies of the codes, in code units, moved by Adam; the chip sees them rounded."""

    def __init__(self, student: Student, learning_rate: float) -> None:
        self._student, self._learning_rate = student, learning_rate
        self._weight = {n: c.weight.float() for n, c in student.codes.items()}
        self._bias = {n: c.bias.float() for n, c in student.codes.items()}
        groups = []
        for stage in student.network.stages:
            lsb = student.lsb[stage.name]
            groups.append({"params": [self._weight[stage.name]], "unit": lsb})
            bias_lsb = lsb * student.bias_lsb(stage)
            groups.append({"params": [self._bias[stage.name]], "unit": bias_lsb})
        self._optimizer = torch.optim.Adam(groups, lr=learning_rate)
        self.set_rate(1.0)

    def set_rate(self, part: float) -> None:
        """This part of the learning rate, in weight units, for every layer."""
        for group in self._optimizer.param_groups:
            group["lr"] = part * self._learning_rate / group["unit"]

    def hold(self, stage: Stage, gradient: Gradient) -> None:
        """Keep a layer's gradient until `step`. Adam does not mind the units."""
        self._weight[stage.name].grad = gradient.weight.flatten(1)
        self._bias[stage.name].grad = gradient.bias

    def step(self) -> None:
        """One step of Adam; the shadow stays within reach of the codes."""
        self._optimizer.step()
        codes = self._student.format
        for weight in self._weight.values():
            weight.clamp_(-codes.weight_max - 0.5, codes.weight_max + 0.5)
        for bias in self._bias.values():
            bias.clamp_(codes.trim_min - 0.5, codes.trim_max + 0.5)

    def codes(self) -> dict[str, LayerCodes]:
        """The nearest codes."""
        form = self._student.format
        return {
            name: LayerCodes(
                as_integers(encode(weight, form)),
                as_integers(encode_trim(self._bias[name], form)),
                zero_trims(len(weight)),
            )
            for name, weight in self._weight.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the shadow and Adam's moments."""
        kept: dict[str, Tensor] = {}
        for name, parameter in self._parameters().items():
            kept[name] = parameter.clone()
            for key, value in self._optimizer.state[parameter].items():
                kept[f"{name}:{key}"] = value.clone()
        return kept

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, parameter in self._parameters().items():
            parameter.copy_(tensors[name])
            prefix = f"{name}:"
            self._optimizer.state[parameter] = {
                key.removeprefix(prefix): value.clone()
                for key, value in tensors.items()
                if key.startswith(prefix)
            }

    def _parameters(self) -> dict[str, Tensor]:
        weights = {f"{name}.weight": value for name, value in self._weight.items()}
        return weights | {f"{name}.bias": value for name, value in self._bias.items()}
