"""Converts docstrings for autodoc: plain sentences, in which only `code` is markup.

The fields of a class have no docstrings; the comment behind a field stands in for one.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from typing import Any, Protocol

from pydantic import BaseModel
from sphinx.application import Sphinx

_CODE = re.compile(r"`+([^`]+)`+")
_MARKUP = re.compile(r"([\\*|_:])")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the conversion with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _process_signature)
    return {"version": "1", "parallel_read_safe": True}


def _process(
    _app: Sphinx, what: str, _name: str, item: object, _options: object, lines: list[str]
) -> None:
    """Convert the lines of a docstring in place, and describe the fields of a class."""
    if what == "module":  # the page itself introduces the module
        lines.clear()
        return
    lines[:] = restructured(lines)
    if inspect.isclass(item) and (fields := list(field_lines(item))):
        lines += ["", *fields, ""]


def _process_signature(_app: Sphinx, what: str, _name: str, item: Any, *_: object) -> Any:
    """Leave out the signature of a protocol, and of a class whose fields are listed."""
    if what == "class" and (_is_protocol(item) or _has_fields(item)):
        return "", None
    return None


def restructured(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText; a paragraph with indented lines is code."""
    converted: list[str] = []
    for is_blank, group in groupby(lines, key=lambda line: not line.strip()):
        paragraph = list(group)
        if is_blank:
            converted += paragraph
        elif any(line.startswith("    ") for line in paragraph):
            code = textwrap.dedent("\n".join(paragraph)).splitlines()
            converted += [".. code-block:: python", "", *(f"    {line}" for line in code)]
        else:
            converted += [plain(line) for line in paragraph]
    return converted


def plain(line: str) -> str:
    """Return the line with all markup escaped except `code`.

    An asterisk, a bar or an underscore in a formula would otherwise be taken for markup.
    """
    parts = _CODE.split(line)
    return "".join(
        f"``{part}``" if number % 2 else _MARKUP.sub(r"\\\1", part)
        for number, part in enumerate(parts)
    )


def field_lines(item: type) -> Iterator[str]:
    """Yield the fields of a NamedTuple or a model, or the members of an enum, with comments."""
    if not _has_fields(item):
        return
    source = textwrap.dedent(inspect.getsource(item))
    rows = source.splitlines()
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for node in definition.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and not _is_private(node):
            yield f"- ``{ast.unparse(node)}``{_comment(rows[(node.end_lineno or 1) - 1])}"


def _is_private(node: ast.Assign | ast.AnnAssign) -> bool:
    name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
    return name.startswith("_") or name == "model_config"


def _comment(row: str) -> str:
    _, found, comment = row.partition("  # ")
    return f" – {plain(comment)}" if found else ""


def _has_fields(item: Any) -> bool:
    return inspect.isclass(item) and (
        issubclass(item, BaseModel | Enum) or (issubclass(item, tuple) and hasattr(item, "_fields"))
    )


def _is_protocol(item: Any) -> bool:
    return inspect.isclass(item) and Protocol in item.__bases__
