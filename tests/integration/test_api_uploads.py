"""Uploads of teachers and target sets: an invalid one gets a message and stores nothing."""

from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from service.db.repositories.target_sets import TargetSetRepository
from tests.world import (
    NETWORK,
    World,
    small_samples,
    small_weights,
    teacher_block,
    upload_headers,
)


def changed(**layers: dict[str, Any]) -> dict[str, Any]:
    """The small network with fields of some layers replaced."""
    new = [layer | layers.get(layer["name"], {}) for layer in NETWORK["layers"]]
    return NETWORK | {"layers": new}


def with_value(value: float) -> bytes:
    weights = small_weights()
    weights["conv.weight"][0, 0, 1, 1] = value
    return teacher_block(weights)


def without(name: str) -> bytes:
    return teacher_block({key: value for key, value in small_weights().items() if key != name})


def with_wrong_shape() -> bytes:
    return teacher_block(small_weights() | {"readout.weight": np.zeros((5, 13), np.float32)})


def with_unknown(tensors: int) -> bytes:
    return teacher_block(small_weights() | {f"t{i:05}": EMPTY for i in range(tensors)})


EMPTY = np.zeros(0, np.float32)
BAD_TEACHERS = {
    "hundreds of unknown tensors": (with_unknown(700), "invalid-request", "and 680 more"),
    "more entries than a network": (with_unknown(10_001), "invalid-request", "10000 entries"),
    "NaN in a weight": (with_value(np.nan), "invalid-request", "conv.weight"),
    "an infinite weight": (with_value(np.inf), "invalid-request", "conv.weight"),
    "a tensor missing": (without("conv.bias"), "invalid-request", "conv.bias"),
    "a weight of the wrong shape": (with_wrong_shape(), "invalid-request", "readout.weight"),
    "layers that do not fit": (
        teacher_block(network=changed(readout={"in_features": 13})),
        "invalid-request",
        "readout",
    ),
    "an unsupported layer": (
        teacher_block(network=changed(pool={"kind": "features.2.MaxPool2d", "name": "features.2"})),
        "unsupported-layer",
        "features.2",
    ),
    "a field nobody knows": (
        teacher_block(network=changed(conv={"dilation": [2, 2]})),
        "invalid-request",
        "dilation",
    ),
    "no name": (safetensors.numpy.save(small_weights()), "invalid-request", "name"),
    "no tensors at all": (b"\x00" * 64, "invalid-request", "safetensors"),
}


@pytest.mark.parametrize(("block", "slug", "word"), BAD_TEACHERS.values(), ids=BAD_TEACHERS.keys())
def test_a_bad_teacher_is_refused(world: World, block: bytes, slug: str, word: str) -> None:
    before = world.stored()
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{slug}"
    assert word in answer.json()["detail"]
    assert len(answer.content) <= 16_000
    assert world.stored() == before


def test_a_good_teacher_is_kept(world: World) -> None:
    before, block = world.stored(), teacher_block()
    view = world.upload_teacher(block)
    assert view["network"]["layers"][0]["name"] == "conv"
    assert world.context.artifacts.read(view["weights_sha256"]) == block
    after = world.stored()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"teachers", "files", "audit_events"}


@pytest.mark.parametrize("cut", [1, 100])
def test_a_truncated_upload_fails_its_checksum(world: World, cut: int) -> None:
    before = world.stored()
    block = teacher_block()
    answer = world.client.post("/v1/teachers", content=block[:-cut], headers=upload_headers(block))
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/checksum-mismatch"
    assert world.stored() == before


def test_a_truncated_block_is_refused_even_with_its_own_checksum(world: World) -> None:
    before = world.stored()
    block = teacher_block()[:-4]
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert answer.status_code == 422
    assert "complete safetensors block" in answer.json()["detail"]
    assert world.stored() == before


@pytest.mark.parametrize("digest", [None, "md5=:abc=:", "sha-256=:not base64:", "sha-256=:AAAA:"])
def test_an_upload_needs_its_digest(world: World, digest: str | None) -> None:
    headers = {} if digest is None else {"Content-Digest": digest}
    answer = world.client.post("/v1/teachers", content=teacher_block(), headers=headers)
    assert answer.status_code == 422
    assert "Content-Digest" in answer.json()["detail"]


def test_the_same_upload_under_one_key_makes_one_teacher(world: World) -> None:
    block = teacher_block()
    headers = upload_headers(block) | {"Idempotency-Key": "upload 1"}
    first, second = (
        world.client.post("/v1/teachers", content=block, headers=headers) for _ in range(2)
    )
    assert first.json()["id"] == second.json()["id"]
    other = teacher_block(name="another")
    headers |= upload_headers(other)
    assert world.client.post("/v1/teachers", content=other, headers=headers).status_code == 422
    assert world.stored()["teachers"] == 1


def test_a_teacher_in_use_stays(world: World) -> None:
    teacher = world.upload_teacher()
    world.announce_targets(teacher["id"])
    assert world.client.delete(f"/v1/teachers/{teacher['id']}").status_code == 409
    unused = world.upload_teacher(teacher_block(name="unused"))
    assert world.client.delete(f"/v1/teachers/{unused['id']}").status_code == 204
    assert world.client.get(f"/v1/teachers/{unused['id']}").status_code == 404


def samples_with(**arrays: Any) -> bytes:
    return safetensors.numpy.save(small_samples() | arrays)


BAD_SAMPLES = {
    "a label too high": (samples_with(labels=np.full(6, 5, np.int64)), "between 0 and 4"),
    "a label below zero": (samples_with(labels=np.full(6, -1, np.int64)), "between 0 and 4"),
    "NaN in an input": (samples_with(inputs=np.full((6, 1, 4, 4), np.nan, np.float32)), "NaN"),
    "infinity in an input": (
        samples_with(inputs=np.full((6, 1, 4, 4), np.inf, np.float32)),
        "infinite",
    ),
    "inputs of the wrong shape": (samples_with(inputs=np.zeros((6, 1, 5, 4), np.float32)), "1x5x4"),
    "more labels than inputs": (samples_with(labels=np.zeros(12, np.int64)), "labels"),
    "fewer labels than inputs": (samples_with(labels=np.zeros(5, np.int64)), "labels"),
    "no inputs": (safetensors.numpy.save({"labels": small_samples()["labels"]}), "inputs"),
    "not safetensors": (b"hello", "safetensors"),
}


@pytest.mark.parametrize(("block", "word"), BAD_SAMPLES.values(), ids=BAD_SAMPLES.keys())
def test_bad_samples_are_refused(world: World, block: bytes, word: str) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"])
    before = world.stored()
    answer = world.put_chunk(target_set["id"], 0, "calibration", block)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert world.stored() == before


def test_an_interrupted_upload_can_be_resumed(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"], chunks=3)
    block = safetensors.numpy.save(small_samples())
    path = f"/v1/target-sets/{target_set['id']}"
    for _ in range(2):  # the same bytes again change nothing
        assert world.put_chunk(target_set["id"], 1, "test", block).status_code == 200
    assert world.client.get(path).json()["missing"] == [0, 2]
    early = world.post_once(f"{path}/complete")
    assert early.status_code == 409
    assert early.json()["missing"] == [0, 2]
    assert world.engine.queued == []


def test_another_chunk_of_the_same_index_replaces_the_first(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"], chunks=2)["id"]
    first, second = (safetensors.numpy.save(small_samples(count)) for count in (4, 5))
    assert world.put_chunk(target_set, 0, "test", first).json()["samples"] == 4
    assert world.put_chunk(target_set, 0, "test", second).json()["samples"] == 5
    with world.context.database.reading() as session:
        (kept,) = TargetSetRepository(session).chunks(target_set)
        assert (kept.index, kept.samples) == (0, 5)


def test_a_chunk_can_be_sent_again_after_completion_if_it_is_the_same(world: World) -> None:
    target_set = world.complete_targets(world.upload_teacher()["id"])["target_set_id"]
    same, other = (safetensors.numpy.save(small_samples(count)) for count in (6, 5))
    assert world.put_chunk(target_set, 1, "test", same).status_code == 200
    assert world.put_chunk(target_set, 1, "calibration", same).status_code == 409
    assert world.put_chunk(target_set, 1, "test", other).status_code == 409


def test_a_chunk_that_was_not_announced_is_refused(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"], chunks=1)
    block = safetensors.numpy.save(small_samples())
    assert world.put_chunk(target_set["id"], 1, "test", block).status_code == 422
    assert world.put_chunk("nowhere", 0, "test", block).status_code == 404
    assert world.put_chunk(target_set["id"], 0, "training", block).status_code == 422
    assert world.stored()["target_chunks"] == 0


def test_both_splits_are_needed(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"], chunks=1)
    block = safetensors.numpy.save(small_samples())
    world.put_chunk(target_set["id"], 0, "calibration", block)
    answer = world.post_once(f"/v1/target-sets/{target_set['id']}/complete")
    assert answer.status_code == 409
    assert answer.json()["split"] == "test"
    assert world.engine.queued == []


def test_completing_a_target_set_submits_a_collect_job(world: World) -> None:
    job = world.complete_targets(world.upload_teacher()["id"])
    assert job["kind"] == "collect"
    assert world.engine.queued == [job["id"]]
    path = f"/v1/target-sets/{job['target_set_id']}"
    assert world.client.get(path).json()["state"] == "collecting"
    assert world.post_once(f"{path}/complete").status_code == 409
    late = safetensors.numpy.save(small_samples(3))
    assert world.put_chunk(job["target_set_id"], 0, "test", late).status_code == 409


def test_a_cancelled_collection_fails_its_target_set_and_can_be_retried(world: World) -> None:
    job = world.complete_targets(world.upload_teacher()["id"])
    path = f"/v1/target-sets/{job['target_set_id']}"
    world.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert world.client.get(path).json()["state"] == "failed"
    again = world.post_once(f"/v1/jobs/{job['id']}/retry").json()
    assert again["id"] != job["id"]
    assert world.client.get(path).json()["state"] == "collecting"
