"""The size of problem documents: an answer to a large request need not be large."""

import json
from collections.abc import Mapping
from typing import Any

LARGEST = 16_000  # bytes of a problem document
_LISTED = 20  # items of a list that are kept
_LETTERS = 300  # of each text


def within_limits(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a problem document; one that is too large keeps the beginning of texts and lists."""
    if _size(content) <= LARGEST:
        return content
    short: dict[str, Any] = {name: _shortened(value) for name, value in content.items()}
    while _size(short) > LARGEST:  # only fields of its own can be many or nested
        short.popitem()
    return short


def _size(content: Mapping[str, Any]) -> int:
    return len(json.dumps(content))


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LETTERS else f"{value[:_LETTERS]}..."
    if isinstance(value, list):
        return [_shortened(item) for item in value[:_LISTED]]
    if isinstance(value, Mapping):
        return {name: _shortened(item) for name, item in list(value.items())[:_LISTED]}
    return value
