"""How a chip's state is laid out as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor


def text_tensor(text: str) -> Tensor:
    """A text among tensors."""
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def tensor_text(tensor: Tensor) -> str:
    """What `text_tensor` kept."""
    return bytes(tensor.tolist()).decode()


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
