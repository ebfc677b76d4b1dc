"""Decoder of JPEG and PNG files, with Pillow (the extra `data`)."""

import io

import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ltl_core.errors import DataFormatError

_FORMATS = ("JPEG", "PNG")
_LARGEST = 4096  # rows or columns: a training image is not larger


def decode(data: bytes, source: str) -> UInt8[Tensor, "channel row column"]:
    """Return red, green and blue of one image, eight bits each. Raises DataFormatError."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if max(image.size) > _LARGEST:
                raise DataFormatError(source, f"it is larger than {_LARGEST} pixels a side")
            flat = bytearray(image.convert("RGB").tobytes())
            width, height = image.size
    except UnidentifiedImageError as error:
        raise DataFormatError(source, "it is neither a JPEG nor a PNG picture") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataFormatError(source, f"the picture is damaged ({error})") from error
    return torch.frombuffer(flat, dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
