"""Text among tensors, and tensors by the beginning of their names: how a chip's state is saved."""

from collections.abc import Mapping

import torch
from torch import Tensor


def text_tensor(text: str) -> Tensor:
    """Return a text as a tensor of bytes."""
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def tensor_text(tensor: Tensor) -> str:
    """Return the text of a tensor of `text_tensor`. Raises UnicodeDecodeError."""
    return bytes(tensor.tolist()).decode()


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by the rest of their names."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
