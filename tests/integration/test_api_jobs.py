"""Jobs over HTTP: accepted completely or refused, and once per Idempotency-Key."""

import threading
from typing import Any

import pytest
from httpx2 import Response

from tests.integration.asked_jobs import calibration, post
from tests.world import World

pytestmark = pytest.mark.both_databases


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a negative sample budget": ({"budget": {"samples": -1}}, "/settings/budget/samples"),
    "a negative time budget": ({"budget": {"seconds": -0.5}}, "/settings/budget/seconds"),
    "a negative write budget": (
        {"budget": {"cell_writes_per_cell": -3}},
        "/settings/budget/cell_writes_per_cell",
    ),
    "an unknown rule": ({"rule": "magic"}, "/settings/rule"),
    "an unknown method": ({"method": "magic"}, "/settings/method"),
    "a method that counts do not suffice": ({"method": "surrogate"}, "/settings"),
    "cells for a method of trims": ({"method": "spsa", "stages": ["cells"]}, "/settings"),
    "an unknown observable": ({"observable": "thoughts"}, "/settings/observable"),
    "an unknown field": ({"patience": 3}, "/settings/patience"),
}


@pytest.mark.parametrize(("bad", "pointer"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_bad_settings_are_refused(world: World, bad: dict[str, Any], pointer: str) -> None:
    body = calibration(world, settings=bad)
    before = world.stored()
    answer = post(world, body)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-request"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert world.stored() == before


@pytest.mark.parametrize("kind", ["dance", None])
def test_a_kind_that_is_wrong_or_absent_is_the_field_that_is_named(
    world: World, kind: str | None
) -> None:
    body = {name: value for name, value in calibration(world).items() if name != "kind"}
    answer = post(world, body if kind is None else {**body, "kind": kind})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/kind"]
    assert "send the request again: /kind: " in answer.json()["detail"]


@pytest.mark.parametrize("missing", ["chip_id", "student_id"])
def test_an_unknown_part_is_refused(world: World, missing: str) -> None:
    body = calibration(world) | {missing: "nowhere"}
    before = world.stored()
    answer = post(world, body)
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["detail"]
    assert world.stored() == before


def test_a_network_larger_than_the_chip_is_refused(world: World) -> None:
    body = calibration(world)
    small = world.register_chip("small", overrides={"tiles": 1})
    before = world.stored()
    answer = post(world, body | {"chip_id": small["id"]})
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/capacity"
    assert (answer.json()["needed"], answer.json()["available"]) == (2, 1)
    assert world.stored() == before


def test_passes_are_refused_with_their_cost_unless_they_are_allowed(world: World) -> None:
    student = world.trained_student()
    sizes = {"tiles": 2, "tile_rows": 16, "tile_columns": 3}
    small = world.register_chip("small", overrides=sizes)["id"]
    body = {"kind": "calibrate", "chip_id": small, "student_id": student}
    before = world.stored()
    answer = post(world, body)
    said = answer.json()
    assert (answer.status_code, said["type"]) == (422, "/problems/capacity")
    assert (said["needed"], said["available"]) == (3, 2)
    assert (said["passes"], said["cells_per_run"]) == (2, 3 * 9 + 5 * 12)
    assert "allow it with passes_max 2" in said["detail"]
    stages = {"settings": {"stages": ["tune"]}}
    answer = post(world, body | stages | {"passes_max": 2})
    assert answer.json()["errors"][0]["message"].startswith("this chip has no registers to tune")
    answer = post(world, body | {"kind": "tune", "passes_max": 2})
    assert answer.json()["errors"][0]["pointer"] == "/passes_max"
    assert world.stored() == before
    for kind in ("calibrate", "evaluate"):
        assert post(world, body | {"kind": kind, "passes_max": 2}).status_code == 202


def test_a_retired_chip_takes_no_jobs(world: World) -> None:
    body = calibration(world)
    world.client.delete(f"/v1/chips/{body['chip_id']}")
    before = world.stored()
    assert post(world, body).status_code == 409
    assert world.stored() == before


def test_training_waits_for_its_targets(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"])
    before = world.stored()
    answer = post(world, {"kind": "train", "target_set_id": target_set["id"]})
    assert answer.status_code == 409
    assert "uploading" in answer.json()["detail"]
    assert world.stored() == before


def test_settings_override_those_of_a_preset(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}
    settings = world.submit(body | {"preset": "ltl-offline-vgg11", "settings": {"epochs": 3}})
    assert settings["settings"]["epochs"] == 3
    assert settings["settings"]["learning_rate"] == 1e-4
    assert settings["settings"]["scales"] == "batch"
    before = world.stored()
    answer = post(world, body | {"preset": "vgg-99"})
    assert answer.status_code == 422
    assert "ltl-offline-vgg11" in answer.json()["errors"][0]["message"]
    assert world.stored() == before


def test_a_student_that_no_chip_can_run_is_refused(world: World) -> None:
    chip = world.register_chip()["id"]
    reset = {"neuron": {"reset": "subtract", "decay": 1.0, "threshold": 1.0}}
    subtracting = world.trained_student(settings=reset)
    before = world.stored()
    for kind in ("calibrate", "evaluate"):
        answer = post(world, {"kind": kind, "chip_id": chip, "student_id": subtracting})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/student_id"
        assert "reset to zero" in answer.json()["errors"][0]["message"]
    assert world.stored() == before


CODES = {"weight_max": 7, "trim_min": -8, "trim_max": 8, "trim_lsb": 1 / 128}


@pytest.mark.parametrize("other", CODES)
def test_a_student_in_other_codes_than_the_chip_takes_is_refused(world: World, other: str) -> None:
    targets, chip = world.ready_targets(), world.register_chip()["id"]
    wrong = world.trained_student(targets, settings={"codes": {other: CODES[other]}})
    for kind in ("calibrate", "evaluate"):
        before = world.stored()
        answer = post(world, {"kind": kind, "chip_id": chip, "student_id": wrong})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/student_id"
        assert f"{other} {CODES[other]}" in error["message"]
        assert world.stored() == before
    fits = world.trained_student(targets, settings={"codes": {"weight_max": 63}})
    assert post(world, {"kind": "calibrate", "chip_id": chip, "student_id": fits}).is_success


def test_a_student_in_the_codes_of_an_unlike_chip_is_taken_for_it(world: World) -> None:
    chip = world.register_chip(overrides={"weight_bits": 3})
    found = chip["info"]["weight_code_max"]
    assert found != 63
    student = world.trained_student(settings={"codes": {"weight_max": found}})
    assert world.calibrate(chip["id"], student)["student_id"] == student


def test_sequences_need_as_many_steps_as_frames_and_no_chip(world: World) -> None:
    targets = world.ready_targets(frames=8)
    body = {"kind": "train", "target_set_id": targets}
    answer = post(world, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/settings/neuron/steps"
    neuron = {"neuron": {"steps": 8, "warmup": 5}}
    student = world.trained_student(targets, settings=neuron)
    chip = world.register_chip()["id"]
    answer = post(world, {"kind": "calibrate", "chip_id": chip, "student_id": student})
    assert answer.status_code == 422
    assert "sequences of frames" in answer.json()["errors"][0]["message"]


def test_a_job_is_accepted_with_its_defaults(world: World) -> None:
    body = calibration(world)
    answer = post(world, body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["terminal"]) == ("queued", False)
    assert job["settings"]["rule"] == "ltl-online"
    assert world.engine.queued[-1] == job["id"]
    chip = world.client.get(f"/v1/chips/{body['chip_id']}").json()
    assert chip["queue_depth"] == 1


def test_one_key_makes_one_job(world: World) -> None:
    body = calibration(world)
    first, second = post(world, body, "key 1"), post(world, body, "key 1")
    assert first.json()["id"] == second.json()["id"]
    assert (first.status_code, second.status_code) == (202, 200)
    assert world.engine.queued.count(first.json()["id"]) == 1


def test_one_key_with_another_body_is_refused(world: World) -> None:
    body = calibration(world)
    post(world, body, "key 1")
    before = world.stored()
    answer = post(world, body | {"priority": 1}, "key 1")
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-mismatch"
    assert world.stored() == before


def test_a_job_needs_an_idempotency_key(world: World) -> None:
    answer = world.client.post("/v1/jobs", json=calibration(world))
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]
    assert world.stored()["jobs"] == 2  # those that made the student


def test_one_key_sent_ten_times_at_once_makes_one_job(world: World) -> None:
    body = calibration(world)
    answers: list[Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(world, body, "key 1")))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert world.engine.queued.count(answers[0].json()["id"]) == 1


def test_the_engine_failing_leaves_no_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = calibration(world)
    before = world.stored()

    def refuse(*_: object) -> None:
        raise OSError("the queue is full")

    monkeypatch.setattr(world.engine, "enqueue", refuse)
    with pytest.raises(OSError, match="queue is full"):
        post(world, body)
    assert world.stored() == before


def test_a_chip_without_weights_needs_the_name_of_a_student(world: World) -> None:
    chip = world.register_chip()["id"]
    tuned = post(world, {"kind": "tune", "chip_id": chip})
    assert (tuned.status_code, tuned.json()["errors"][0]["pointer"]) == (422, "/student_id")
    probed = post(world, {"kind": "probe", "chip_id": chip})  # it takes no student's name
    assert probed.status_code == 409
    assert "no weights in force" in probed.json()["detail"]
