"""Noise that each multiply meets: every weight is read a little differently each time."""

import torch
from jaxtyping import Float
from torch import Tensor


def read_noise_spread(
    rows: Float[Tensor, "*group row point"], sigma: float
) -> Float[Tensor, "*group point"]:
    """Standard deviation of a column sum when every weight is read with N(0, sigma^2).

    The second product, sqrt(sum_j sigma^2 x_j^2). All cells have the same sigma, so that it is the
    same for all columns.
    """
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-2)
    return norms.to(torch.float32).mul_(sigma)
