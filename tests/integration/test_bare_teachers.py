"""Teachers whose owner keeps the weights: the network and the activations are checked alone."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import safetensors.numpy
from torch import nn

from service.client.teachers import Teachers
from tests.integration.test_sdk import spec, transport
from tests.integration.test_teacher_pages import cells
from tests.world import NETWORK, World, small_samples, teacher_block, upload_headers

Arrays = dict[str, Any]
BODY = {"name": "kept", "network": NETWORK}
LARGE = 4 * 2**20 + 1  # bytes


def given_samples(count: int = 6) -> Arrays:
    """Samples with what a teacher could have made of them."""
    rng = np.random.default_rng(3)
    return small_samples(count) | {
        "activation:conv": 2 * rng.random((count, 3, 4, 4), dtype=np.float32),
        "logits": rng.normal(size=(count, 5)).astype(np.float32),
    }


def post(world: World, body: bytes | Any, **headers: str) -> Any:
    """Send JSON, or bytes that claim to be JSON, with their digest."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return world.client.post(
        "/v1/teachers", content=data, headers=upload_headers(data) | kind | headers
    )


def register(world: World, body: Any = BODY) -> Any:
    answer = post(world, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_network_alone_makes_a_teacher_without_weights(world: World) -> None:
    before = world.stored()
    view = register(world)
    assert (view["weights_sha256"], view["name"]) == (None, "kept")
    assert view["network"]["layers"][0]["name"] == "conv"
    assert world.client.get("/v1/teachers/kept").json() == view
    after = world.stored()
    assert {name for name in after if after[name] != before[name]} == {"teachers", "audit_events"}


def test_the_same_network_under_one_key_makes_one_teacher(world: World) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    made = [post(world, BODY, **headers) for _ in range(2)]
    assert made[0].json()["id"] == made[1].json()["id"]
    other = post(world, BODY | {"name": "other"}, **headers)
    assert other.status_code == 422
    assert world.stored()["teachers"] == 1


BAD = {
    "no JSON": (b"{", "JSON"),
    "a list": (b"[]", "object"),
    "no name": (json.dumps({"network": NETWORK}).encode(), "name"),
    "no network": (json.dumps({"name": "kept"}).encode(), "network"),
    "weights": (json.dumps(BODY | {"weights": [1.0]}).encode(), "weights"),
    "no layers": (
        json.dumps({"name": "k", "network": {"input_shape": [6], "layers": []}}),
        "layers",
    ),
    "a layer that is not known": (
        json.dumps({"name": "k", "network": {"input_shape": [6], "layers": [{"kind": "gru"}]}}),
        "gru",
    ),
    "far too deep": (b'{"name": ' + 50_000 * b"[" + 50_000 * b"]" + b"}", "recursion"),
}


@pytest.mark.parametrize(("body", "word"), BAD.values(), ids=BAD.keys())
def test_a_bad_network_is_refused(world: World, body: Any, word: str) -> None:
    before = world.stored()
    answer = post(world, body if isinstance(body, bytes) else body.encode())
    assert answer.status_code == 422, answer.text
    assert word in answer.text
    assert world.stored() == before


def test_a_body_of_json_is_bounded_and_its_digest_compared(world: World) -> None:
    before, headers = world.stored(), {"Content-Type": "application/json"}
    assert post(world, b" " * LARGE).status_code == 413
    missing = world.client.post("/v1/teachers", json=BODY)
    assert (missing.status_code, "Content-Digest" in missing.text) == (422, True)
    body = json.dumps(BODY).encode()
    right, wrong = (upload_headers(block) | headers for block in (body, b"{}"))
    assert world.client.post("/v1/teachers", content=body, headers=wrong).status_code == 400
    assert world.stored() == before
    assert world.client.post("/v1/teachers", content=body, headers=right).status_code == 201


def test_a_block_without_weights_is_no_teacher(world: World) -> None:
    """Whoever forgets the weights is told so; only JSON says that they do not come."""
    block = safetensors.numpy.save({}, {"name": "forgotten", "network": json.dumps(NETWORK)})
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert answer.status_code == 422
    assert "missing conv.bias" in answer.json()["detail"]


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def with_value(name: str, value: float, kind: Any = np.float32) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        changed = arrays[name].astype(kind)
        changed.flat[7] = value
        return arrays | {name: changed}

    return change


def cut(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: arrays[name][:-1]}


BAD_CHUNKS: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "no activations": (without("activation:conv"), "missing activation:conv"),
    "no logits": (without("logits"), "missing logits"),
    "no inputs": (without("inputs"), "missing inputs"),
    "a layer that is not there": (
        lambda arrays: arrays | {"activation:pool": arrays["activation:conv"]},
        "unknown activation:pool",
    ),
    "activations of the readout": (
        lambda arrays: arrays | {"activation:readout": arrays["logits"]},
        "unknown activation:readout",
    ),
    "too few activations": (cut("activation:conv"), "6x3x4x4"),
    "too few logits": (cut("logits"), "6x5"),
    "too few labels": (cut("labels"), "labels"),
    "another shape": (
        lambda arrays: arrays | {"activation:conv": arrays["activation:conv"].reshape(6, 48)},
        "6x3x4x4",
    ),
    "whole numbers": (
        lambda arrays: arrays | {"logits": arrays["logits"].astype(np.int32)},
        "float32",
    ),
    "NaN": (with_value("activation:conv", np.nan), "NaN"),
    "infinity": (with_value("logits", np.inf), "infinite"),
    "below zero": (with_value("activation:conv", -0.5), "not negative"),
    "above the ceiling": (with_value("activation:conv", 2.1), "clips them at 2"),
    "out of all bounds": (with_value("logits", -1e300, np.float64), "1e+09"),
}


@pytest.mark.parametrize(("change", "word"), BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_a_chunk_with_bad_activations_is_refused(
    world: World, change: Callable[[Arrays], Arrays], word: str
) -> None:
    target_set = world.announce_targets(register(world)["id"])
    before = world.stored()
    block = safetensors.numpy.save(change(given_samples()))
    answer = world.put_chunk(target_set["id"], 0, "calibration", block)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/invalid-request"
    assert word in answer.json()["detail"]
    assert world.stored() == before


@pytest.mark.parametrize("labelled", [True, False])
def test_a_chunk_with_activations_is_kept(world: World, labelled: bool) -> None:
    target_set = world.announce_targets(register(world)["id"])
    arrays = given_samples() if labelled else without("labels")(given_samples())
    half = with_value("activation:conv", 2.0, np.float16)(arrays)
    answer = world.put_chunk(target_set["id"], 0, "test", safetensors.numpy.save(half))
    assert answer.status_code == 200, answer.text
    assert answer.json()["samples"] == 6


def test_what_is_missing_is_said_in_a_sentence(world: World) -> None:
    target_set = world.announce_targets(register(world)["id"])
    block = safetensors.numpy.save(small_samples())
    answer = world.put_chunk(target_set["id"], 0, "test", block).json()
    assert answer["missing"] == ["activation:conv", "logits"]
    assert "weights of this teacher are not here" in answer["detail"]


def test_a_teacher_whose_weights_are_here_takes_no_activations(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher(teacher_block())["id"])
    before = world.stored()
    block = safetensors.numpy.save(given_samples())
    answer = world.put_chunk(target_set["id"], 0, "test", block)
    assert answer.status_code == 422
    assert "leave out activation:conv, logits" in answer.json()["detail"]
    assert world.stored() == before


def test_a_job_cannot_start_before_activations_have_come(world: World) -> None:
    target_set = world.announce_targets(register(world)["id"])["id"]
    body = {"kind": "train", "target_set_id": target_set}
    headers = {"Idempotency-Key": str(uuid4())}
    answer = world.client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 409
    assert "ready" in answer.json()["detail"]
    assert world.engine.queued == []


def test_pages_say_who_has_the_weights(world: World) -> None:
    bare, whole = register(world)["id"], world.upload_teacher()["id"]
    rows = {row[0]: row[2] for row in cells(world.client.get("/teachers").text, "teachers")}
    assert rows == {"kept": "kept by their owner", "small teacher": "here"}
    sentence = "Its weights stay with their owner."
    assert sentence in world.client.get(f"/teachers/{bare}").text
    assert sentence not in world.client.get(f"/teachers/{whole}").text


def test_the_audit_names_a_teacher_without_weights(world: World) -> None:
    register(world)
    (event,) = world.client.get("/v1/audit", params={"action": "teacher.uploaded"}).json()["items"]
    assert event["data"] == {"name": "kept", "sha256": None}


def test_a_teacher_without_weights_can_be_deleted(world: World) -> None:
    teacher = register(world)["id"]
    assert world.client.delete(f"/v1/teachers/{teacher}").status_code == 204
    assert world.client.get(f"/v1/teachers/{teacher}").status_code == 404


def test_the_client_registers_a_network_alone(world: World) -> None:
    teachers = Teachers(transport(world))
    made = teachers.register("kept", spec())
    assert made.weights_sha256 is None
    assert teachers.get("kept") == made
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert teachers.register("read here", module, input_shape=(6,)).network.classes == 3
    with pytest.raises(TypeError, match="input_shape"):
        teachers.register("no shape", module)
