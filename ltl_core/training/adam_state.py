"""Adam's moments as named tensors, for checkpoints: `adam:PARAMETER:MOMENT`."""

from collections.abc import Mapping

import torch
from torch import Tensor


def adam_tensors(
    optimizer: torch.optim.Adam, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return copies of the moments and step counts that the optimiser keeps of these parameters.

    A parameter that has not been moved yet has none.
    """
    return {
        f"adam:{name}:{moment}": tensor.clone()
        for name, parameter in parameters.items()
        for moment, tensor in optimizer.state.get(parameter, {}).items()
    }


def load_adam(
    optimizer: torch.optim.Adam, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Set the moments that `adam_tensors` returned; other tensors are ignored."""
    for name, parameter in parameters.items():
        prefix = f"adam:{name}:"
        moments = {
            key.removeprefix(prefix): tensor.clone()
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        if moments:
            optimizer.state[parameter] = moments
