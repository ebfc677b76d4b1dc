"""Every number, text and list that enters has bounds, and every name shows as it is."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from chip_sim.spec import ChipSpec
from service.schemas.base import Title
from service.schemas.upkeep import PolicyRequest
from tests.world import World

# Texts that are read further: a date, a URL that is checked when it is used, an upload, which has a
# limit of its own.
READ_FURTHER = {"date-time", "uri", "binary"}
# Objects without a schema of their own, which their chip backend or parser checks.
CHECKED_FURTHER = {"ChipRequest.settings", "SimulatedChipSettings.overrides"}


def unbounded(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], at: str, seen: set[str]
) -> Iterator[str]:
    """Yield where a schema takes a number, a text, a list or an object of any size."""
    if (ref := schema.get("$ref")) is not None:
        name = ref.rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            yield from unbounded(schemas[name], schemas, name, seen)
        return
    if not _is_bounded(schema) and at not in CHECKED_FURTHER:
        yield f"{at} ({schema['type']})"
    for place, inner in _inside(schema, at):
        yield from unbounded(inner, schemas, place, seen)


def _inside(schema: Mapping[str, Any], at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the schemas that one schema is made of, with their places."""
    for kind in ("anyOf", "oneOf", "allOf"):
        yield from ((at, inner) for inner in schema.get(kind, ()))
    items = (schema.get("items"), *schema.get("prefixItems", ()))
    yield from ((f"{at}[]", inner) for inner in items if isinstance(inner, Mapping))
    yield from ((f"{at}.{name}", inner) for name, inner in schema.get("properties", {}).items())


def _is_bounded(schema: Mapping[str, Any]) -> bool:
    if {"enum", "const"} & schema.keys():
        return True
    match schema.get("type"):
        case "number" | "integer":
            low = schema.keys() & {"minimum", "exclusiveMinimum"}
            return bool(low and schema.keys() & {"maximum", "exclusiveMaximum"})
        case "string":
            return (
                "maxLength" in schema
                or schema.get("format") in READ_FURTHER
                or ("pattern" in schema)
            )
        case "array":
            return "maxItems" in schema
        case "object":
            return schema.get("additionalProperties") in (None, False)
        case _:
            return True


def test_every_number_text_and_list_of_a_request_has_bounds(world: World) -> None:
    document = world.client.get("/v1/openapi.json").json()
    schemas, seen = document["components"]["schemas"], set[str]()
    found: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for given in operation.get("parameters", ()):
                at = f"{method} {path} {given['name']}"
                found += unbounded(given["schema"], schemas, at, seen)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                found += unbounded(content.get("schema", {}), schemas, f"{method} {path}", seen)
    assert found == []
    assert "CalibrateRequest" in seen


def test_so_has_every_number_of_a_chip_spec() -> None:
    schema = ChipSpec.model_json_schema()
    assert list(unbounded(schema, schema["$defs"], "ChipSpec", set())) == []


def test_the_search_finds_what_has_none() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number", "minimum": 0}}}
    assert list(unbounded(schema, {}, "Made", set())) == ["Made.a (number)"]


HOSTILE_JOBS: list[dict[str, Any]] = [
    {"settings": {"seed": 1e30}},
    {"settings": {"seed": 2**64}},
    {"settings": {"settle_s": 1e308}},
    {"settings": {"budget": {"seconds": 1e300}}},
    {"settings": {"budget": {"pulses": 2**70}}},
    {"settings": {"verification_samples": 2**40}},
    {"not_before": "0001-01-01T00:00:00+14:00"},
    {"not_before": "9999-12-31T23:59:59-14:00"},
    {"queue_deadline": "9999-12-31T23:59:59-14:00"},
]


def test_a_job_with_an_absurd_number_is_refused(world: World) -> None:
    for hostile in HOSTILE_JOBS:
        body = {"kind": "calibrate", "chip_id": "a", "student_id": "b"} | hostile
        headers = {"Idempotency-Key": "one"}
        answer = world.client.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == 422, hostile
        assert answer.json()["type"] == "/problems/invalid-request"
    assert world.stored()["jobs"] == 0


@pytest.mark.parametrize(
    "field", ["probe_every_s", "calibrate_every_s", "pause_s", "calibrate_at_score"]
)
def test_a_policy_with_an_absurd_number_is_refused(field: str) -> None:
    PolicyRequest.model_validate({field: 3600.0 if field.endswith("_s") else 1.0})
    with pytest.raises(ValidationError):
        PolicyRequest.model_validate({field: 1e308})


def test_an_absurd_number_of_an_event_is_refused(world: World) -> None:
    for query in ("after=9223372036854775808", "after=-1", f"after={'9' * 23}"):
        answer = world.client.get(f"/v1/jobs/nothing/events?{query}")
        assert answer.status_code == 422, query


def test_an_absurd_last_event_id_is_refused(world: World) -> None:
    headers = {"Last-Event-ID": "9" * 23}
    assert world.client.get("/v1/jobs/nothing/events", headers=headers).status_code == 422


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\u202eb", "a\u200bb", "\ufeff", "a\x00", "a\u2028b"]
)
def test_a_name_that_does_not_show_as_it_is_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Title).validate_python(name)


@pytest.mark.parametrize("name", ["bench 1", "Prüfstand №2", "芯片", "chip (old) – 3"])
def test_names_of_any_language_are_accepted(name: str) -> None:
    assert TypeAdapter(Title).validate_python(name) == name
