"""Live parts of pages: what is sent each second to whom has a page open."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, update

from service.db.tables import Chip, Job
from service.states import ChipHealth, JobStatus
from service.web.parts import CHANGES
from tests.world import World

LIVE = {"Accept": f"{CHANGES}, text/html", "Accept-Encoding": "gzip"}
FLEET = "/fragments/fleet"


class Tab:
    """A tab of a browser that has a live part open; it counts the bytes that it is sent."""

    def __init__(self, client: TestClient, address: str) -> None:
        self._client, self._address = client, address
        self._etag, self.text, self.received = "", "", 0

    def look(self) -> None:
        headers = LIVE | {"If-None-Match": self._etag}
        with self._client.stream("GET", self._address, headers=headers) as answer:
            raw = b"".join(answer.iter_raw())
            self.received += len(raw) + sum(len(k) + len(v) + 4 for k, v in answer.headers.raw)
            if answer.status_code == 304:
                return
        body = gzip.decompress(raw) if "content-encoding" in answer.headers else raw
        self._etag = answer.headers["etag"]
        lines = self.text.split("\n")
        if answer.headers["content-type"].startswith(CHANGES):
            pieces = [
                p if isinstance(p, str) else "\n".join(lines[p[0] : p[1]]) for p in json.loads(body)
            ]
            self.text = "\n".join(pieces)
        else:
            self.text = body.decode()


def fleet_of(world: World, chips: int, running: int) -> None:
    """Chips, of which some run a job since a minute."""
    made = datetime.now(UTC) - timedelta(hours=1)
    rows = [
        {
            "id": f"{number:036d}",
            "name": f"chip-{number:03d}",
            "backend": "simulated",
            "settings": {"preset": "pcm"},
            "info": {},
            "health": ChipHealth.GOOD,
            "created_at": made,
        }
        for number in range(chips)
    ]
    jobs = [
        {
            "id": f"job-{number:032d}",
            "kind": "calibrate",
            "status": JobStatus.RUNNING,
            "request": {},
            "chip_id": f"{number:036d}",
            "priority": 5,
            "attempt": 1,
            "created_at": made,
            "started_at": datetime.now(UTC) - timedelta(seconds=61),
            "code_version": "test",
        }
        for number in range(running)
    ]
    with world.context.database.writing() as session:
        session.execute(insert(Chip), rows)
        if jobs:
            session.execute(insert(Job), jobs)


def step(world: World, number: int) -> None:
    """Let all running jobs report a step."""
    progress: dict[str, Any] = {"phase": "calibrating", "step": number, "steps": 500}
    with world.context.database.writing() as session:
        running = update(Job).where(Job.status == JobStatus.RUNNING)
        session.execute(running.values(progress=progress, spent={"samples": 4 * number}))


def test_300_chips_with_4_running_jobs_take_some_kilobytes_a_second(world: World) -> None:
    fleet_of(world, 300, 4)
    tab = Tab(world.client, FLEET)
    step(world, 0)
    tab.look()
    whole, tab.received = len(tab.text), 0
    for number in range(1, 6):
        step(world, number)
        before = world.client.get(FLEET).text
        tab.look()
        assert tab.text in (before, world.client.get(FLEET).text)  # a minute may pass between
    assert whole > 30_000  # the control: so much was sent each second
    assert tab.received / 5 < 3_000


def test_nothing_is_sent_while_jobs_run_and_report_nothing(world: World) -> None:
    fleet_of(world, 10, 4)
    tab = Tab(world.client, FLEET)
    step(world, 0)
    tab.look()
    tab.received = 0
    tab.look()
    assert tab.received < 300  # the head of an answer
    assert "data-since" in tab.text


def test_a_part_that_the_service_has_forgotten_is_sent_whole(world: World) -> None:
    fleet_of(world, 3, 1)
    answer = world.client.get(FLEET, headers=LIVE | {"If-None-Match": '"unknown"'})
    assert answer.headers["content-type"].startswith("text/html")


def test_who_takes_no_changes_is_sent_html(world: World) -> None:
    fleet_of(world, 3, 1)
    first = world.client.get(FLEET, headers=LIVE)
    step(world, 7)
    plain = {"If-None-Match": first.headers["etag"]}
    assert world.client.get(FLEET, headers=plain).headers["content-type"].startswith("text/html")
    changed = world.client.get(FLEET, headers=plain | LIVE)
    assert changed.headers["content-type"] == CHANGES


@pytest.mark.parametrize(
    ("accepted", "coded"), [("gzip, br", True), ("br", False), ("", False), ("gzip;q=0", False)]
)
def test_pages_are_compressed_for_who_takes_it(world: World, accepted: str, coded: bool) -> None:
    fleet_of(world, 50, 0)
    answer = world.client.get("/", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) is coded
    assert "chip-049" in answer.text
