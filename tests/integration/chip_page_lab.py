"""Chips as their page shows them: calibrated, probed or damaged, and browsers to look with."""

from html import unescape
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import text

from service.states import JobStatus
from tests.integration.upkeep_lab import ANSWER, Fleet
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html"}
MAP = {
    "shows": "error",
    "chip_time_s": 3.0,
    "layers": {"hidden": 1.25, "readout": 0.5},
    "pulses": {"most": 7, "mean": 2.5},
    "tile": {
        "layer": "hidden",
        "first_column": 0,
        "columns": 2,
        "first_row": 16,
        "rows": 3,
        "bin_columns": 1,
        "bin_rows": 1,
        "bins": [[0, 100, 250], [50, 0, 1000]],
    },
}


def signed_in(world: World, key: str) -> TestClient:
    browser = TestClient(world.client.app, follow_redirects=False, headers=HTML)
    assert browser.post("/login", data={"key": key}, headers=OWN).status_code == 303
    return browser


def key_of(world: World, *scopes: str) -> str:
    made = world.client.post("/v1/keys", json={"name": "guest", "scopes": list(scopes)})
    return str(made.json()["key"])


def probed(fleet: Fleet, chip: str, score: float, **answer: Any) -> None:
    """The chip was probed, and this was found."""
    fleet.world.submit({"kind": "probe", "chip_id": chip})
    layers = [{"layer": "readout", "score": score}]
    found = {"score": score, "version": 1, "layers": layers, "loss_curve": None}
    fleet.finish(chip, JobStatus.SUCCEEDED, fingerprint=ANSWER | answer, **found)


def calibrated(fleet: Fleet, name: str = "bench <1>") -> str:
    """A chip with a version in force, a calibration that was not better, and a probe."""
    chip = fleet.chip(name)
    fleet.world.calibrate(chip, fleet.student)
    fleet.finish(
        chip,
        JobStatus.SUCCEEDED,
        accuracy={"golden": 0.9, "before": 0.81, "after": 0.81},
        rate_error={"before": [0.2, 0.1], "after": [0.05, 0.125]},
        layers=[
            {"layer": "hidden", "rate_error_before": 0.2},
            {"layer": "middle", "rate_error_before": 0.1},
            {"layer": "readout", "rate_error_before": None},
        ],
        published=False,
    )
    probed(fleet, chip, 0.75, weight_map=MAP)
    return chip


def page_of(world: World, chip: str) -> str:
    answer = world.client.get(f"/chips/{chip}", headers=HTML)
    assert answer.status_code == 200
    return unescape(answer.text)


def damage(world: World, table: str, column: str, value: str, where: str, key: str) -> None:
    with world.context.database.writing() as session:
        statement = f"UPDATE {table} SET {column} = :value WHERE {where} = :key"
        session.execute(text(statement), {"value": value, "key": key})
