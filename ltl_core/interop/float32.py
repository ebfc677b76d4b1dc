"""Numbers that a network can keep: weights are float32."""

import torch
from torch import Tensor

from ltl_core.errors import NonFiniteError


def check_float32(name: str, values: Tensor) -> None:
    """Raise NonFiniteError, which names the tensor, if a value of any shape is no finite float32.

    The extremes tell: NaN is both of them. So weights of any size are read once, and not copied.
    """
    if not values.numel() or bool(torch.stack(values.aminmax()).float().isfinite().all()):
        return
    raise NonFiniteError(name, int((~values.float().isfinite()).sum()))
