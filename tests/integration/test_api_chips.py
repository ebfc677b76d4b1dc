"""Chips over HTTP."""

from typing import Any

import pytest
import safetensors.numpy
from httpx2 import Response

from service.api.context import utc_now
from service.db.repositories.weights import Publication, WeightRepository
from tests.world import World, small_weights


def register(world: World, **body: Any) -> Response:
    return world.client.post("/v1/chips", json={"name": "bench 1"} | body)


BAD_CHIPS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown preset": (
        {"settings": {"preset": "memtorch", "seed": 1}},
        "/settings/preset",
        "ideal, pcm, hermes, reram, harsh",
    ),
    "no seed": ({"settings": {"preset": "pcm"}}, "/settings/seed", "required"),
    "a negative seed": ({"settings": {"preset": "pcm", "seed": -1}}, "/settings/seed", "0"),
    "an unknown setting": (
        {"settings": {"preset": "pcm", "seed": 1, "kindness": 1}},
        "/settings/kindness",
        "not permitted",
    ),
    "an impossible override": (
        {"settings": {"preset": "pcm", "seed": 1, "overrides": {"converter": {"adc_bits": 99}}}},
        "/settings/overrides/converter/adc_bits",
        "16",
    ),
    "an unknown override": (
        {"settings": {"preset": "pcm", "seed": 1, "overrides": {"magic": True}}},
        "/settings/overrides/magic",
        "not permitted",
    ),
    "an unknown backend": ({"backend": "abacus", "settings": {}}, "/backend", "simulated"),
}


@pytest.mark.parametrize(("body", "pointer", "word"), BAD_CHIPS.values(), ids=BAD_CHIPS.keys())
def test_a_bad_chip_is_refused(world: World, body: dict[str, Any], pointer: str, word: str) -> None:
    before = world.stored()
    answer = register(world, **body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert word in error["message"]
    assert world.stored() == before


def test_a_chip_says_what_it_is(world: World) -> None:
    chip = world.register_chip(preset="harsh", seed=7)
    assert chip["info"]["weight_code_max"] == 63
    assert (chip["state"], chip["health"], chip["queue_depth"]) == ("idle", "unknown", 0)
    assert world.client.get(f"/v1/chips/{chip['id']}").json() == chip


def test_two_chips_cannot_have_the_same_name(world: World) -> None:
    first, second = world.register_chip("a"), world.register_chip("b")
    answer = register(world, name="a", settings={"preset": "pcm", "seed": 2})
    assert answer.status_code == 409
    path = f"/v1/chips/{second['id']}"
    assert world.client.patch(path, json={"name": "a"}).status_code == 409
    assert world.client.patch(path, json={"name": "c"}).json()["name"] == "c"
    assert world.client.get("/v1/chips", params={"name": "a"}).json()["items"] == [first]


def test_retiring_a_chip_cancels_what_waits_and_keeps_its_history(world: World) -> None:
    chip = world.register_chip()
    job = world.calibrate(chip["id"], world.trained_student())
    retired = world.client.delete(f"/v1/chips/{chip['id']}").json()
    assert retired["health"] == "retired"
    assert retired["retired_at"] is not None
    assert world.client.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    assert world.engine.cancelled == [job["id"]]
    history = world.client.get(f"/v1/chips/{chip['id']}/history").json()["items"]
    assert [one["id"] for one in history] == [job["id"]]
    healthy = world.client.get("/v1/chips", params={"health": "unknown"}).json()
    assert healthy["items"] == []


def test_weights_are_shown_and_downloaded(world: World) -> None:
    chip = world.register_chip()
    job = world.calibrate(chip["id"], world.trained_student())
    token = world.drive(job["id"])
    block = safetensors.numpy.save(small_weights())
    published = Publication(
        job_id=job["id"],
        token=token,
        block=block,
        chip_time=1.5,
        rule="ltl-online",
        observable="window",
        accuracy={"golden": 0.9, "before": 0.2, "after": 0.89},
        fingerprint=None,
        code_version="1",
    )
    with world.context.database.writing() as session:
        WeightRepository(session).publish(published, utc_now())
    path = f"/v1/chips/{chip['id']}"
    assert world.client.get(path).json()["version_in_force"] == 1
    assert world.client.get(path).json()["state"] == "running"
    (listed,) = world.client.get(f"{path}/weights").json()["items"]
    assert listed == world.client.get(f"{path}/weights/1").json()
    assert listed["accuracy"]["after"] == 0.89
    assert world.client.get(f"{path}/weights/1/block").content == block
    assert world.client.get(f"{path}/weights/2").status_code == 404
    assert world.client.get(f"{path}/weights/0").status_code == 422
