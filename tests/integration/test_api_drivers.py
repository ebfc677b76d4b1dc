"""Chips behind an installed driver, over HTTP: the driver is opened when a chip is registered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from tests.integration.asked_jobs import post
from tests.world import World

SOURCE = """
from ltl_core.chip import ChipInfo, Observable

class Chip:
    info = ChipInfo("sn-7", "lab", 8, 8, 2, 7, -8, 7, 0.1, frozenset(Observable), 1e-6, None)
    def ask(self, *_): raise NotImplementedError
    place = program = trim = run = settle = now = ask

def make(chip_id, settings):
    with open(settings["log"], "a") as log:
        log.write("opened ")
    if settings.get("unplugged"):
        raise OSError("the line is dead")
    chip = Chip()
    if settings.get("bare"):
        seen = frozenset([Observable.COUNTS])
        chip.info = chip.info._replace(observables=seen, threshold_trims=False)
    if settings.get("usual codes"):
        usual = {"weight_code_max": 63, "trim_code_min": -128, "trim_code_max": 127}
        chip.info = chip.info._replace(trim_lsb=1 / 256, **usual)
    if settings.get("no trims"):
        chip.info = chip.info._replace(trim_code_min=0, trim_code_max=0)
    return chip
"""


@pytest.fixture
def register(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Response]:
    """Registers a chip of a driver that is installed, and writes a line whenever it is opened."""
    (tmp_path / "lab_driver_of_api.py").write_text(SOURCE)
    about = tmp_path / "lab_driver_of_api-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-driver-of-api\nVersion: 1\n")
    points = "[tandemcal.chip_backends]\nlab-of-api = lab_driver_of_api:make\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)

    def registered(key: str | None = None, **settings: Any) -> Response:
        body = {"name": "bench 7", "backend": "lab-of-api"}
        settings = {"log": str(tmp_path / "log")} | settings
        headers = {"Idempotency-Key": key} if key else {}
        return world.client.post("/v1/chips", json=body | {"settings": settings}, headers=headers)

    return registered


def test_a_chip_of_a_driver_shows_what_it_says_of_itself(
    world: World, register: Callable[..., Response]
) -> None:
    chip = register().json()
    assert (chip["info"]["model"], chip["info"]["weight_code_max"]) == ("lab", 7)
    assert chip["info"]["chip_id"] == chip["id"]  # ours, whatever the driver calls it
    assert world.client.get(f"/v1/chips/{chip['id']}").json() == chip


def test_a_driver_that_raises_refuses_the_registration_with_its_line(
    world: World, register: Callable[..., Response], tmp_path: Path
) -> None:
    before = world.stored()
    answer = register(unplugged=True)
    said = answer.json()
    assert (answer.status_code, said["type"]) == (422, "/problems/driver-failed")
    line = SOURCE.splitlines().index('        raise OSError("the line is dead")') + 1
    file = str(tmp_path / "lab_driver_of_api.py")
    assert (said["backend"], said["file"], said["line"]) == ("lab-of-api", file, line)
    assert f"OSError: the line is dead (make, {file}, line {line})" in said["detail"]
    assert said["errors"][0]["pointer"] == "/backend"
    assert world.stored() == before


def test_a_request_that_is_repeated_opens_the_driver_once(
    register: Callable[..., Response], tmp_path: Path
) -> None:
    first, again = register("key-1"), register("key-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert (tmp_path / "log").read_text() == "opened "
    register("key-2")  # the control: another request opens it again
    assert (tmp_path / "log").read_text() == "opened opened "


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "membranes": (
        {"method": "surrogate", "observable": "membrane"},
        "/settings/observable",
        "this chip cannot show 'membrane'; use one of counts",
    ),
    "registers": (
        {"stages": ["tune"]},
        "/settings/stages",
        "this chip has no registers to tune; name another stage as well",
    ),
    "registers and side weights": (
        {"stages": ["drift", "side"]},
        "/settings/stages",
        "this chip has no registers to tune and no digital side weights; "
        "name another stage as well",
    ),
}


def test_what_a_chip_lacks_is_named_when_the_job_is_sent(
    world: World, register: Callable[..., Response]
) -> None:
    chip = register(bare=True, **{"usual codes": True}).json()
    assert chip["info"]["threshold_trims"] is False
    body = {"kind": "calibrate", "chip_id": chip["id"], "student_id": world.trained_student()}
    before = world.stored()
    for settings, pointer, message in REFUSED.values():
        answer = post(world, body | {"settings": settings})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["message"]) == (pointer, message)
    assert world.stored() == before
    for settings in ({}, {"stages": ["tune", "trims"]}, {"method": "spsa"}):
        assert post(world, body | {"settings": settings}).status_code == 202


def test_trims_alone_are_refused_on_a_chip_without_any(
    world: World, register: Callable[..., Response]
) -> None:
    chip = register(**{"usual codes": True, "no trims": True}).json()["id"]
    codes = {"codes": {"trim_min": 0, "trim_max": 0}}
    student = world.trained_student(settings=codes)
    body = {"kind": "calibrate", "chip_id": chip, "student_id": student}
    for settings in ({"stages": ["trims"]}, {"method": "spsa", "stages": ["trims", "cells"]}):
        answer = post(world, body | {"settings": settings})
        assert answer.status_code == 422
        message = "this chip has no trims; name another stage as well"
        assert answer.json()["errors"][0]["message"] == message
    assert post(world, body).status_code == 202
