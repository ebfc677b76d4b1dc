"""Tensors as bytes and back: safetensors blocks, with text metadata. Nothing is ever unpickled."""

from collections.abc import Mapping

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ltl_core.block_metadata import read_metadata
from ltl_core.errors import CorruptTensorsError


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """One safetensors block."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, dict(metadata or {}))


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a block. Raises CorruptTensorsError."""
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptTensorsError(str(error)) from error
    return tensors, read_metadata(data)
