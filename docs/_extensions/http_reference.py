"""Writes the HTTP reference from the OpenAPI document of the service when the site is built."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sphinx.application import Sphinx

from service.api.document import PROBLEMS, document
from service.app import create_app
from service.jobs.kinds.registry import KINDS
from service.settings import Settings

PAGE = Path("reference") / "http.md"
_INTRODUCTION = """\
# HTTP reference

This page is generated from the OpenAPI document of the service, which a running service also gives
at `GET /v1/openapi.json`.

A program shows its key in the header `Authorization: Bearer KEY`. A path under `/v1` needs a key,
except `/v1/session`, which exchanges a key for the cookie of a browser. Lists are pages: give
`next_cursor` of an answer as `cursor` to read the next one. An answer has at most 1 MB, so that a
page may hold fewer items than `limit`. A list leaves out `result`, `progress`, `summary` and
`fingerprint` of an item above 64 kB, and whole items whose rows are damaged: `unreadable` has their
ids. A query parameter that a route does not know is refused. An
error is answered as `application/problem+json`; its `detail` says what to change. A request with an
`Idempotency-Key` that was sent before is answered with 200 and what it made then.
"""


class Operation(NamedTuple):
    """One method of one path, as the OpenAPI document describes it."""

    method: str
    path: str
    described: dict[str, Any]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generation of the page with Sphinx."""
    app.connect("builder-inited", _write)
    return {"version": "1", "parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    page = Path(app.srcdir) / PAGE
    text = reference(openapi())
    if not page.exists() or page.read_text() != text:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the service; neither a server nor a database is started."""
    with TemporaryDirectory() as folder:
        return document(create_app(Settings(data_dir=Path(folder))), KINDS)


def reference(document: dict[str, Any]) -> str:
    """Return the whole page in Markdown: paths by topic, then the objects that they exchange."""
    topics: dict[str, list[Operation]] = defaultdict(list)
    for operation in _operations(document):
        topics[operation.described.get("tags", ["other"])[0]].append(operation)
    lines = [_INTRODUCTION]
    for topic, operations in topics.items():
        lines += [f"## {topic.capitalize()}", ""]
        for operation in operations:
            lines += _operation_lines(operation)
    lines += ["## Objects", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema_lines(name, schema)
    return "\n".join(lines)


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(method.upper(), path, described)


def _operation_lines(operation: Operation) -> list[str]:
    described = operation.described
    lines = [f"### {operation.method} {_escaped(operation.path)}", ""]
    if text := described.get("description"):
        lines += [text, ""]
    if parameters := described.get("parameters"):
        lines += ["| parameter | in | type | description |", "|---|---|---|---|"]
        lines += [_parameter_row(parameter) for parameter in parameters]
        lines += [""]
    if body := described.get("requestBody"):
        lines += [f"Request body: {_contents(body)}.", ""]
    for status, answer in described["responses"].items():
        if status not in PROBLEMS:
            lines += [f"Answer {status}: {_contents(answer) or 'no body'}.", ""]
    return lines


def _parameter_row(parameter: dict[str, Any]) -> str:
    required = ", required" if parameter.get("required") else ""
    text = _cell(parameter.get("description", ""))
    kind = _type(parameter["schema"])
    return f"| `{parameter['name']}` | {parameter['in']}{required} | {kind} | {text} |"


def _contents(holder: dict[str, Any]) -> str:
    described = (
        f"{_type(content.get('schema', {}))} as `{media_type}`"
        for media_type, content in holder.get("content", {}).items()
    )
    return ", or ".join(described)


def _schema_lines(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [f"({_anchor(name)})=", f"### {_escaped(name)}", ""]
    if text := schema.get("description"):
        lines += [text, ""]
    if values := schema.get("enum"):
        lines += ["One of " + ", ".join(f"`{value}`" for value in values) + ".", ""]
    if fields := schema.get("properties"):
        required = schema.get("required", [])
        lines += ["| field | type | description |", "|---|---|---|"]
        lines += [_field_row(field, kind, field in required) for field, kind in fields.items()]
        lines += [""]
    for example in schema.get("examples", []):
        lines += _example_lines(example)
    return lines


def _example_lines(example: object) -> list[str]:
    """Show a body that was sent, closed until a reader opens it."""
    text = json.dumps(example, indent=1, ensure_ascii=False)
    opened = "<details><summary>Example</summary>"
    return [opened, "", "```json", text, "```", "", "</details>", ""]


def _field_row(name: str, schema: dict[str, Any], required: bool) -> str:
    notes = [_cell(schema["description"])] if "description" in schema else []
    notes += [f"unit: {schema['unit']}"] if "unit" in schema else []
    if not required:
        notes += [f"default: `{schema['default']}`" if "default" in schema else "optional"]
    return f"| `{name}` | {_type(schema)} | {'; '.join(notes)} |"


def _type(schema: dict[str, Any]) -> str:
    """Put the type of a value into words, with a link to each object that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{_escaped(name)}](#{_anchor(name)})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[choice]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if "const" in schema:
        return f"`{schema['const']}`"
    return _escaped(schema.get("format") or schema.get("type") or "any value") + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
        "maxLength": "at most {} characters",
    }
    limits = [word.format(schema[key]) for key, word in words.items() if key in schema]
    return f" ({', '.join(limits)})" if limits else ""


def _anchor(name: str) -> str:
    return f"object-{name.lower().replace('_', '-').strip('-')}"


def _escaped(text: str) -> str:
    return text.replace("_", "\\_").replace("{", "\\{").replace("}", "\\}")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
