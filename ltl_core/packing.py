"""Tensors as safetensors blocks, with text metadata, and back. Nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ltl_core.block_metadata import read_metadata
from ltl_core.errors import CorruptTensorsError


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Pack named tensors and text metadata into one safetensors block."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, dict(metadata or {}))


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the text metadata of a block. Raises CorruptTensorsError."""
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptTensorsError(str(error)) from error
    return tensors, read_metadata(data)


def unpack_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the text metadata of a block in a file, which is mapped into memory.

    The bytes of a tensor are read from the file when they are used. Raises CorruptTensorsError.
    """
    try:
        with safetensors.safe_open(path, "pt") as block:
            tensors = {name: block.get_tensor(name) for name in block.keys()}  # noqa: SIM118
            return tensors, dict(block.metadata() or {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptTensorsError(str(error)) from error
