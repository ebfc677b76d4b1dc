"""Latent side weights: the two matrices of each layer's adapter as floats, moved by Adam.

Side weights add U D to the weights of a layer (LoRA, Hu et al. 2021, arXiv:2106.09685, eq. 3), so
that dL/dU = dL/dW D^T and dL/dD = U^T dL/dW. D begins at random and U at zero.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import SideWeights
from ltl_core.network.layers import Weighted, size
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.side_codes import encode_side
from ltl_core.student.student import Student
from ltl_core.training.adam_state import adam_tensors, load_adam

_SEED = 20211  # of the first D


class _Factors(NamedTuple):
    up: Float[Tensor, "column rank"]  # U, code units
    down: Float[Tensor, "rank row"]  # D, about one


class LatentSideWeights:
    """Side weights of a student as floats.

    In each step U and D both move by so much that the weights U D move by the size of a step, in
    codes, alike in all layers. In a layer with as few rows or columns as the rank, one of the two
    is the unit matrix and stays; then the other one holds any matrix.
    """

    def __init__(self, student: Student, rank: int, step: float) -> None:
        """Start at the student's side weights, if it has some; `step` is in weight codes."""
        self._step = step
        self._factors = {
            layer.name: _first(layer, rank, student.side.get(layer.name))
            for layer in student.network.matrices
        }
        groups = [{"params": [f], "lr": 0.0} for both in self._factors.values() for f in both]
        self._optimizer = torch.optim.Adam(groups, fused=True)

    @property
    def codes(self) -> dict[str, SideWeights]:
        """The nearest side weights of each layer; a layer whose product is zero has none."""
        found = {name: encode_side(f.down, f.up) for name, f in self._factors.items()}
        return {name: side for name, side in found.items() if side is not None}

    def set_gradient(self, name: str, gradient: Gradient) -> None:
        """Keep the gradient of a matrix for `step`. Its scale does not matter to Adam."""
        up, down = self._factors[name]
        weight = gradient.weight.flatten(1)
        up.grad = None if _is_unit(up) else (weight @ down.T).contiguous()
        down.grad = None if _is_unit(down) else (up.T @ weight).contiguous()

    def step(self, fraction: float) -> None:
        """Take one step of Adam, by this fraction of the full size."""
        for (up, down), rates in zip(self._factors.values(), self._pairs(), strict=True):
            for group, rate in zip(rates, self._rates(up, down), strict=True):
                group["lr"] = fraction * rate
        self._optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the matrices and of Adam's moments, for a checkpoint."""
        parameters = self._parameters()
        latent = {f"shadow:{name}": tensor.clone() for name, tensor in parameters.items()}
        return latent | adam_tensors(self._optimizer, parameters)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned. Without any of it, nothing changes."""
        parameters = self._parameters()
        for name, parameter in parameters.items():
            if f"shadow:{name}" in tensors:
                parameter.copy_(tensors[f"shadow:{name}"])
        load_adam(self._optimizer, parameters, tensors)

    def _rates(self, up: Tensor, down: Tensor) -> tuple[float, float]:
        """Return how far each entry of U and of D moves, so that those of U D move one step.

        If the entries of the other matrix are independent and their root mean square is s, a move
        of m in each of `rank` terms adds up to m s sqrt(rank).
        """
        if _is_unit(up) or _is_unit(down):
            return self._step, self._step
        rank = math.sqrt(len(down))
        return self._step / (_rms(down) * rank), self._step / (max(_rms(up), 1.0) * rank)

    def _pairs(self) -> list[list[dict[str, Any]]]:
        groups = self._optimizer.param_groups
        return [groups[place : place + 2] for place in range(0, len(groups), 2)]

    def _parameters(self) -> dict[str, Tensor]:
        return {
            f"{name}.side_{field}": tensor
            for name, factors in self._factors.items()
            for field, tensor in factors._asdict().items()
        }


def _first(layer: Weighted, rank: int, side: SideWeights | None) -> _Factors:
    """Return the matrices to begin with: those of `side`, or a product of zero."""
    columns, rows = layer.weight_shape[0], size(layer.weight_shape[1:])
    if side is not None:
        return _from_codes(side, rank)
    if rows <= rank:
        return _Factors(torch.zeros(columns, rows), torch.eye(rows))
    if columns <= rank:
        return _Factors(torch.eye(columns), torch.zeros(columns, rows))
    return _Factors(torch.zeros(columns, rank), _signs(rank, rows))


def _from_codes(side: SideWeights, rank: int) -> _Factors:
    """Return the matrices of these codes, with as many ranks more as the chip has."""
    up, down = side.up.float() * side.up_scale, side.down.float() * side.down_scale
    if _is_unit(up) or _is_unit(down):
        return _Factors(up, down)
    size_of = _rms(down)
    more = max(0, rank - len(down))
    up = torch.cat((up * size_of, up.new_zeros(len(up), more)), 1)
    return _Factors(up, torch.cat((down / size_of, _signs(more, down.shape[1]))))


def _signs(count: int, rows: int) -> Float[Tensor, "count row"]:
    """Return rows of random signs, the same for every chip."""
    generator = torch.Generator().manual_seed(_SEED)
    return 2.0 * torch.randint(0, 2, (count, rows), generator=generator).float() - 1


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _is_unit(factor: Tensor) -> bool:
    return factor.shape[0] == factor.shape[1] and bool(
        torch.allclose(factor, torch.eye(len(factor)), atol=1e-5)
    )
