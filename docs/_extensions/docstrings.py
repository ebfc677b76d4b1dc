"""Converts docstrings for autodoc: plain sentences, in which only `code` is markup."""

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(`+)([^`]+)\1")
_MARKUP = re.compile(r"([\\*|_:])")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the conversion of docstrings with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"version": "1", "parallel_read_safe": True}


def _process(*event: Any) -> None:
    """Convert the lines of a docstring in place; Sphinx gives them as the last argument."""
    lines: list[str] = event[-1]
    lines[:] = [restructured(line) for line in lines]


def restructured(line: str) -> str:
    """Return the line as reStructuredText in which only `code` is markup.

    An asterisk, a bar or an underscore in a formula would otherwise be taken for markup.
    """
    parts = _CODE.split(line)
    converted = []
    for plain, _, code in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        converted.append(_MARKUP.sub(r"\\\1", plain))
        converted.append(f"``{code}``" if code else "")
    return "".join(converted)
