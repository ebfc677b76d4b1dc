"""Text metadata in the header of a safetensors block, read without torch."""

import json

from ltl_core.errors import CorruptTensorsError


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the text metadata of a safetensors block. Raises CorruptTensorsError."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise CorruptTensorsError("its header is not JSON") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return {str(key): str(value) for key, value in metadata.items()}
