"""Put meanings and units of fields and parameters into the OpenAPI document."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from service.api.fields.learning import LEARNING
from service.api.fields.meaning import Meaning
from service.api.fields.parameters import PARAMETERS
from service.api.fields.resources import RESOURCES

Json = dict[str, Any]

_FIELDS: Mapping[str, Meaning] = {**LEARNING, **RESOURCES}
_NUMBERS = frozenset({"integer", "number"})


def describe_fields(schemas: Mapping[str, Json]) -> None:
    """Describe every field of the schemas whose meaning is known, in place."""
    for model, schema in schemas.items():
        for name, field in schema.get("properties", {}).items():
            _add(field, _FIELDS.get(f"{model}.{name}") or _FIELDS.get(name))


def describe_parameters(parameters: Iterable[Json]) -> None:
    """Describe every parameter whose meaning is known, in place."""
    for given in parameters:
        meaning = PARAMETERS.get(given["name"]) or _FIELDS.get(given["name"])
        _add(given, meaning, unit_in=given["schema"])


def has_numbers(schema: Mapping[str, Any]) -> bool:
    """Return whether a value may be a number, or a list of numbers, without a named schema."""
    return not _NUMBERS.isdisjoint(_types(schema))


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    if "const" in schema or "enum" in schema:
        return
    if "type" in schema:
        yield schema["type"]
    for choice in schema.get("anyOf", ()):
        yield from _types(choice)
    inner = [schema["items"]] if isinstance(schema.get("items"), dict) else []
    for each in (*inner, *schema.get("prefixItems", ())):
        yield from _types(each)


def _add(described: Json, meaning: Meaning | None, unit_in: Json | None = None) -> None:
    """Add what is not said yet."""
    if meaning is None:
        return
    described.setdefault("description", meaning.text)
    if meaning.unit is not None:
        (described if unit_in is None else unit_in).setdefault("unit", meaning.unit)
