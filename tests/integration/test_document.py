"""The OpenAPI document: methods, replays, headers and the fields of settings and chips."""

from typing import Any

import pytest
import safetensors.numpy

from ltl_core.chip import ChipInfo, Register, TuningInfo
from service.api.fields.describe import has_numbers
from service.api.fields.learning import LEARNING
from service.api.fields.resources import RESOURCES
from service.schemas.chip_info import ChipInformation, ChipTuningInfo, RegisterInfo
from tests.world import World, small_samples, teacher_block, upload_headers


@pytest.fixture
def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.client.get("/v1/openapi.json").json()
    return found


def test_a_refused_method_is_answered_with_all_methods_of_its_path(
    world: World, document: dict[str, Any]
) -> None:
    for path in document["paths"]:
        answer = world.client.options(path)
        assert answer.status_code == 405, path
        allowed = {method.lower() for method in answer.headers["allow"].split(", ")}
        # `cancel` is no id of a job: the path has the methods that the document gives it.
        assert allowed == document["paths"][path].keys(), path


def test_every_route_says_how_problems_look(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"4XX", "5XX"} <= operation["responses"].keys(), (method, path)


def test_the_schemas_of_chips_have_the_fields_that_a_driver_reports() -> None:
    pairs: list[tuple[Any, Any]] = [
        (ChipInformation, ChipInfo),
        (ChipTuningInfo, TuningInfo),
        (RegisterInfo, Register),
    ]
    for model, plain in pairs:
        assert tuple(model.model_fields) == plain._fields


def test_settings_and_information_have_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def named(view: str, field: str) -> set[str]:
        found = schemas[view]["properties"][field]
        choices = [found, *found.get("anyOf", ())]
        return {one["$ref"].rpartition("/")[2] for one in choices if "$ref" in one}

    kinds = {"CollectSettings", "TrainingSettings", "TuneSettings", "CalibrationSettings"}
    assert named("JobView", "settings") == kinds
    assert named("PolicyView", "settings") == {"CalibrationSettings"}
    assert named("ChipView", "settings") == {"SimulatedChipSettings"}
    assert named("ChipView", "info") == {"ChipInformation"}
    assert named("AgentRequest", "info") == {"ChipInformation"}
    assert kinds <= schemas.keys()


def test_what_a_request_must_carry_is_required(document: dict[str, Any]) -> None:
    required = {
        (method, path, given["name"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for given in operation.get("parameters", ())
        if given["in"] == "header" and given["required"]
    }
    assert required == {
        ("post", "/v1/jobs", "Idempotency-Key"),
        ("post", "/v1/jobs/cancel", "Idempotency-Key"),
        ("post", "/v1/jobs/{job_id}/retry", "Idempotency-Key"),
        ("post", "/v1/target-sets/{target_set_id}/complete", "Idempotency-Key"),
        ("post", "/v1/teachers", "Content-Digest"),
        ("put", "/v1/target-sets/{target_set_id}/chunks/{index}", "Content-Digest"),
    }
    assert "x-required" not in str(document)


def test_a_parameter_is_never_null(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for given in operation.get("parameters", ()):
                assert {"type": "null"} not in given["schema"].get("anyOf", ()), given["name"]


def test_a_repeated_request_is_answered_200_and_with_its_resource(
    world: World, document: dict[str, Any]
) -> None:
    block = teacher_block()
    teacher = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    chip = {"name": "one", "settings": {"preset": "ideal", "seed": 1}}
    targets = {"name": "one", "teacher_id": teacher.json()["id"], "chunks": 1}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/v1/teachers", {"content": block, "headers": upload_headers(block)}),
        ("/v1/chips", {"json": chip, "headers": {}}),
        ("/v1/target-sets", {"json": targets, "headers": {}}),
    ]
    for path, request in requests:
        request["headers"] |= {"Idempotency-Key": "the same"}
        first, second = (world.client.post(path, **request) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200), path
        assert first.headers["location"] == second.headers["location"]
        assert first.json() == second.json()
        assert "200" in document["paths"][path]["post"]["responses"]


def test_so_is_a_repeated_request_about_a_resource(world: World) -> None:
    targets = world.announce_targets(world.upload_teacher()["id"], chunks=2)
    for index, split in enumerate(("calibration", "test")):
        world.put_chunk(targets["id"], index, split, safetensors.numpy.save(small_samples()))
    path = f"/v1/target-sets/{targets['id']}/complete"
    first, second = (world.post_once(path, "the same") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]


def _without_meaning(document: dict[str, Any]) -> list[str]:
    """Name every field and parameter without a description, and every number without a unit."""
    found = [
        (f"{model}.{name}", field, field)
        for model, schema in document["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
    ]
    found += [
        (f"{method} {path} {given['name']}", given, given["schema"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for given in operation.get("parameters", ())
    ]
    return [
        place
        for place, described, schema in found
        if not described.get("description") or (has_numbers(schema) and not schema.get("unit"))
    ]


def test_every_field_has_a_description_and_every_number_a_unit(document: dict[str, Any]) -> None:
    assert _without_meaning(document) == []
    fields = document["components"]["schemas"]["ChipView"]["properties"]
    del fields["name"]["description"], fields["queue_depth"]["unit"]  # these would be seen
    assert _without_meaning(document) == ["ChipView.name", "ChipView.queue_depth"]


def test_no_meaning_is_of_a_field_that_is_gone(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    names = {name for schema in schemas.values() for name in schema.get("properties", {})}
    whole = {
        f"{model}.{name}"
        for model, schema in schemas.items()
        for name in schema.get("properties", {})
    }
    assert (RESOURCES.keys() | LEARNING.keys()) - names - whole == set()


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    ids = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))
    assert {"jobs_submit", "chips_register", "teachers_upload", "agents_hear"} <= set(ids)
    assert max(map(len, ids)) <= 30


def test_blocks_are_sent_and_read_as_plain_bytes_too(
    world: World, document: dict[str, Any]
) -> None:
    plain = "application/octet-stream"
    bodies = [
        document["paths"]["/v1/teachers"]["post"]["requestBody"],
        document["paths"]["/v1/students/{student_id}/weights"]["get"]["responses"]["200"],
        document["paths"]["/v1/chips/{chip_id}/weights/{version}/block"]["get"]["responses"]["200"],
    ]
    for body in bodies:
        assert body["content"][plain]["schema"] == {"type": "string", "format": "binary"}
    block = teacher_block()
    headers = upload_headers(block) | {"Content-Type": plain}
    assert world.client.post("/v1/teachers", content=block, headers=headers).status_code == 201
