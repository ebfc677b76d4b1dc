"""The queue page: what runs and waits, why and until when, the workers, and what is planned."""

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, text, update
from uuid_utils import uuid7

from service.api.context import utc_now
from service.db.agent_tables import Agent
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.tables import Chip, Job
from service.db.upkeep_tables import Policy
from service.states import JobStatus
from tests.hostile.poison import poison_rows
from tests.integration.registered_agents import fall_silent, registered, submit
from tests.integration.upkeep_lab import Fleet
from tests.world import World

LIMIT = 200_000  # bytes


def with_worker(world: World, silent_s: float = 0.0) -> None:
    with world.context.database.writing() as session:
        seen = utc_now() - timedelta(seconds=silent_s)
        ExecutorRepository(session).beat("bench-pc", 2, seen)


def section(world: World, name: str, address: str = "/queue") -> str:
    """The part of the page under this heading."""
    page = world.client.get(address).text
    return page.split(f'aria-labelledby="{name}"')[1].split("</section>")[0]


def rows(world: World, name: str, address: str = "/queue") -> list[list[str]]:
    """Cells of a table of the page, as text."""
    body = section(world, name, address).split("<tbody>")[1].split("</tbody>")[0]
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    cells = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in found)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def ended_calibration(world: World, chip: str, student: str, seconds: float) -> None:
    """A calibration of the chip that took so long."""
    job = world.calibrate(chip, student)["id"]
    token = world.drive(job)
    with world.context.database.writing() as session:
        begun = utc_now() - timedelta(seconds=seconds)
        session.execute(update(Job).where(Job.id == job).values(started_at=begun))
        JobRepository(session).end(job, token, JobStatus.SUCCEEDED, None, {}, utc_now())
        LeaseRepository(session).release(chip, token)


def test_an_empty_queue_says_what_to_do_next(world: World) -> None:
    page = world.client.get("/queue").text
    assert "0 jobs waiting, 0 running. No worker is alive." in page
    for command in ("chips calibrate CHIP", "tandemcal worker", "chips policy CHIP --set -"):
        assert command in page


def test_a_waiting_job_has_a_reason_a_place_and_an_expected_start(world: World) -> None:
    with_worker(world)
    student = world.trained_student()
    chip = world.register_chip("bench <1>")["id"]
    ended_calibration(world, chip, student, 600.0)
    first, second = (world.calibrate(chip, student)["id"] for _ in range(2))
    third = world.calibrate(chip, student)["id"]
    world.drive(first)
    waiting = rows(world, "waiting")
    assert [row[0] for row in waiting] == [second[-8:], third[-8:]]
    assert [row[4] for row in waiting] == ["1", "2"]
    assert waiting[0][3] == f"its chip runs calibrate {first[-8:]}"
    assert waiting[1][3] == f"its chip runs calibrate {first[-8:]}, and 1 job before it"
    assert (waiting[0][5], waiting[1][5]) == ("in 9 min", "in 19 min")
    assert [row[0] for row in rows(world, "running")] == [first[-8:]]
    assert "bench &lt;1&gt;" in section(world, "waiting")


def test_without_a_past_job_no_start_is_invented(world: World) -> None:
    with_worker(world)
    student, chip = world.trained_student(), world.register_chip()["id"]
    jobs = [world.calibrate(chip, student)["id"] for _ in range(2)]
    world.drive(jobs[0])
    assert rows(world, "waiting")[0][5] == "not known"


def test_reasons_name_what_has_to_change_first(world: World) -> None:
    targets = world.ready_targets()
    later = utc_now() + timedelta(hours=3)
    asked = {"kind": "train", "target_set_id": targets}
    world.submit(asked)
    world.submit(asked | {"not_before": later.isoformat()})
    assert "no worker runs" in rows(world, "waiting")[0][3]
    with_worker(world)
    at_once, postponed = (row[3] for row in rows(world, "waiting"))
    assert at_once == "it starts within seconds"
    assert postponed == f"not before {later:%Y-%m-%d %H:%M:%S} UTC, as it was asked for"


def test_a_job_for_an_offline_chip_names_its_agent(world: World) -> None:
    with_worker(world)
    student, chip = world.trained_student(), world.register_chip("far away")["id"]
    world.calibrate(chip, student)
    assert "agent" not in rows(world, "waiting")[0][3]  # the control: the chip needs none
    silent = utc_now() - timedelta(minutes=5)
    agent = {"id": str(uuid7()), "chip_id": chip, "url": "http://10.1.2.3:9000", "secret": "s"}
    agent |= {"version": "1", "limits": {}, "signed": False, "registered_at": silent}
    with world.context.database.writing() as session:
        session.execute(update(Chip).where(Chip.id == chip).values(backend="http"))
        session.execute(insert(Agent), [agent | {"heartbeat_at": silent, "alive_until": silent}])
    assert "its agent at http://10.1.2.3:9000 was last heard of" in rows(world, "waiting")[0][3]


def test_a_chip_that_is_back_holds_no_job_up(world: World) -> None:
    with_worker(world)
    chip = registered(world)
    fall_silent(world)
    submit(world, chip)
    assert "its chip is offline" in rows(world, "waiting")[0][3]
    world.client.post("/v1/agents/agent-1/heartbeat")
    assert rows(world, "waiting")[0][3] == "it starts within seconds"


def test_lists_of_jobs_repeat_no_reason_that_is_over(world: World) -> None:
    chip = registered(world)
    fall_silent(world)
    submit(world, chip)
    pages = ("/", f"/chips/{chip}")
    assert all("its chip is offline: its agent" in world.client.get(page).text for page in pages)
    world.client.post("/v1/agents/agent-1/heartbeat")
    assert not any("its chip is offline" in world.client.get(page).text for page in pages)


def test_submitters_have_names(world: World) -> None:
    with_worker(world)
    world.submit({"kind": "train", "target_set_id": world.ready_targets()})
    fleet = Fleet(world)
    fleet.chip("cared for", calibrate_every_s=60.0, pause_s=0.0)
    fleet.pass_time(120.0)
    fleet.plan()
    by = {row[1]: row[7] for row in rows(world, "waiting")}
    assert by == {"train": "first key", "calibrate": "the planner"}


def test_a_silent_worker_is_told_from_a_living_one(world: World) -> None:
    with_worker(world)
    assert rows(world, "workers") == [["bench-pc", "alive", "now", "0", "2"]]
    assert "1 worker with 2 places." in world.client.get("/queue").text
    with_worker(world, silent_s=62.0)
    assert rows(world, "workers") == [["bench-pc", "silent", "60 s ago", "0", "2"]]
    assert "No worker is alive." in world.client.get("/queue").text


def test_the_planner_s_next_steps_are_in_the_order_of_their_times(world: World) -> None:
    fleet = Fleet(world)
    fleet.chip("later", calibrate_every_s=9000.0)
    fleet.chip("sooner", calibrate_every_s=3700.0)
    fleet.chip("never probed", probe_every_s=3600.0)
    fleet.chip("cared for by nobody")
    assert [row[:3] for row in rows(world, "planned")] == [
        ["never probed", "probe", "now"],
        ["sooner", "calibrate", "in 1 h"],
        ["later", "calibrate", "in 2 h"],
    ]


def test_pages_of_the_queue_hold_every_job_once_and_stay_small(world: World) -> None:
    with_worker(world)
    targets = world.ready_targets()
    one = world.submit({"kind": "train", "target_set_id": targets})["id"]
    with world.context.database.writing() as session:
        row = session.get(Job, one)
        assert row is not None
        columns = [column.key for column in Job.__table__.columns]
        values = {column: getattr(row, column) for column in columns}
        session.execute(insert(Job), [values | {"id": str(uuid7())} for _ in range(119)])
    seen, address = list[str](), "/queue"
    while address:
        assert len(world.client.get(address).content) < LIMIT
        seen += [row[0] for row in rows(world, "waiting", address)]
        more = re.findall(r'<a href="([^"]+)">More waiting', section(world, "waiting", address))
        address = more[0].replace("&amp;", "&") if more else ""
    assert len(seen) == len(set(seen)) == 120


def test_a_cursor_of_nobody_is_refused(world: World) -> None:
    assert world.client.get("/queue?waiting=nonsense").status_code == 422


@pytest.mark.parametrize("table", [Job, Policy], ids=lambda table: table.__tablename__)
def test_damaged_rows_do_not_break_the_page(world: World, table: Any) -> None:
    with_worker(world)
    fleet = Fleet(world)
    chip = fleet.chip("template", probe_every_s=3600.0)
    world.submit({"kind": "probe", "chip_id": chip})
    whole = world.submit({"kind": "probe", "chip_id": fleet.chip("whole")})["id"]
    assert len(poison_rows(world.context.database, table, chip)) > 20
    answer = world.client.get("/queue")
    assert answer.status_code == 200
    seen, address = list[str](), "/queue"
    while address:
        seen += [row[0] for row in rows(world, "waiting", address)]
        more = re.findall(r'<a href="([^"]+)">More waiting', section(world, "waiting", address))
        address = more[0].replace("&amp;", "&") if more else ""
    assert whole[-8:] in seen


def test_a_damaged_worker_does_not_hide_the_others(world: World) -> None:
    with_worker(world)
    with world.context.database.writing() as session:
        damage = "INSERT INTO executors (id, heartbeat_at, slots) VALUES ('broken', '17', 2)"
        session.execute(text(damage))
    assert {row[0] for row in rows(world, "workers")} == {"bench-pc", "broken"}


def test_the_page_needs_a_key_that_may_read(world: World) -> None:
    browser = TestClient(world.client.app, follow_redirects=False)
    assert browser.get("/queue").headers["location"] == "/login?next=/queue"
    assert browser.get("/fragments/queue").status_code == 401
    assert world.client.get("/fragments/queue").status_code == 200  # the control


def test_the_header_shows_where_one_is(world: World) -> None:
    page = world.client.get("/queue").text
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', page) == ["/queue"]
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', world.client.get("/").text) == [
        "/"
    ]
