"""The examples of the OpenAPI document are what the service says today."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest

from service.api.document import document
from service.api.examples import EXAMPLES
from service.app import create_app
from service.jobs.kinds.registry import KINDS
from service.settings import Settings
from tests.integration.api_examples import converse
from tests.integration.jobs_lab import Lab, Service
from tests.world import World

Json = dict[str, Any]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Json:
    settings = Settings(data_dir=tmp_path_factory.mktemp("document"))
    return document(create_app(settings), KINDS)


def stored() -> dict[str, Json]:
    found: dict[str, Json] = json.loads(EXAMPLES.read_text())
    return found


def faults(described: Json, model: str, body: Json) -> list[str]:
    """What a body has that its model forbids, and what a view of the service lacks."""
    schema = {"$ref": f"#/components/schemas/{model}", "components": described["components"]}
    found = [one.message for one in jsonschema_rs.Draft202012Validator(schema).iter_errors(body)]
    fields = described["components"]["schemas"][model].get("properties", {})
    unknown = [name for name in body if name not in fields and model != "Problem"]
    lacking = [name for name in fields if name not in body and model.endswith("View")]
    return found + unknown + lacking


def bodies(described: Json) -> Iterator[str]:
    """The model of every JSON body, of a request or of an answer."""
    for methods in described["paths"].values():
        for operation in methods.values():
            for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
                content = holder.get("content", {}).get("application/json", {}).get("schema", {})
                for one in (content, *content.get("oneOf", ())):
                    if "$ref" in one:
                        yield one["$ref"].rpartition("/")[2]


def test_every_body_has_an_example(described: Json) -> None:
    needed = {*bodies(described), "Problem"} - {"Body_session_open"}  # which is a key alone
    assert needed <= stored().keys()
    schemas = described["components"]["schemas"]
    assert all(schemas[model]["examples"] == [stored()[model]] for model in needed)


def test_every_example_is_valid(described: Json) -> None:
    assert {model: faults(described, model, body) for model, body in stored().items()} == {
        model: [] for model in stored()
    }


def test_an_example_that_is_not_valid_any_more_would_be_seen(described: Json) -> None:
    newer = deepcopy(described)
    fields = newer["components"]["schemas"]["ChipView"]["properties"]
    fields["serial"] = {"type": "string"}
    fields["queue_depth"] = {"type": "string"}
    del fields["health"]
    found = faults(newer, "ChipView", stored()["ChipView"])
    assert found == ['0 is not of type "string"', "health", "serial"]


def test_the_service_says_what_the_examples_say(lab: Lab, described: Json) -> None:
    service = Service(lab)
    said = converse(service)
    service.stop()
    assert {model: sorted(body) for model, body in said.items()} == {
        model: sorted(body) for model, body in stored().items()
    }, "write them anew: python -m tests.integration.api_examples"
    assert all(faults(described, model, body) == [] for model, body in said.items())


def test_no_example_holds_a_secret(world: World) -> None:
    """A key of an example opens no service."""
    key = stored()["NewKeyView"]["key"]
    answer = world.client.get("/v1/chips", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
