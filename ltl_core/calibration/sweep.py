"""A sweep: a chip answers with several values of a register, and each column chooses its own.

Columns of a layer do not see each other. So one measurement with the same value in all columns
tells what it does in each of them. With r_c(x) the responses of column c to n stimuli at the value
x, linear between those that were measured, and q_c the responses that are wanted,

    E_c(x) = mean (q_c - r_c(x))^2
    x_c = argmin_x  n E_c(x) / a_c^2 + (x - x_0)^2 / tau^2

which is the most probable value if values of columns differ from x_0 by tau. a_c^2 is the error
that no value removes: the least E_c(x), or its median over the columns if that is larger.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Responses = Float[Tensor, "sample _column"]
Sweep = Mapping[float, Responses]  # what the columns of a layer answered, by value

_TRIED = 71  # values, evenly spaced
_LEAST_ERROR = 1e-9  # a^2 of columns that answer exactly as is wanted


def by_column(rates: Float[Tensor, "sample column *position"]) -> Responses:
    """Return the mean over positions, in double precision."""
    return rates.double().flatten(2).mean(2) if rates.ndim > 2 else rates.double()


def best_value(sweep: Sweep, wanted: Responses) -> float:
    """Return which of the measured values is best for all columns together."""
    return min(sweep, key=lambda value: float((wanted - sweep[value]).square().mean()))


def best_values(
    sweep: Sweep, wanted: Responses, spread: float, centre: float | None = None
) -> Float[Tensor, " column"]:
    """Return the value that each column takes, x_c, within those that were measured.

    `spread` is tau and `centre` is x_0; without it, x_0 is best for all columns together. Raises
    ValueError for fewer than two values.
    """
    if len(sweep) < 2:
        raise ValueError("A sweep needs the answers with two values or more.")
    tried = torch.linspace(min(sweep), max(sweep), _TRIED, dtype=torch.float64)
    errors = torch.stack([_errors(sweep, value, wanted) for value in tried.tolist()])
    middle = tried[errors.mean(1).argmin()] if centre is None else centre
    least = errors.min(0).values
    rest = torch.maximum(least, least.median()).clamp(min=_LEAST_ERROR)
    unlikely = ((tried - middle) / spread).square().unsqueeze(1)
    return tried[(len(wanted) * errors / rest + unlikely).argmin(0)]


def _errors(sweep: Sweep, value: float, wanted: Responses) -> Float[Tensor, " column"]:
    """Return E_c at a value."""
    values = sorted(sweep)
    above = next((one for one in values[1:] if value <= one), values[-1])
    below = values[values.index(above) - 1]
    answer = torch.lerp(sweep[below], sweep[above], (value - below) / (above - below))
    return (wanted - answer).square().mean(0)
