"""Chips that are due are planned for: once, the oldest first, and not when there is no point."""

import re
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update

from service.db.repositories.fingerprints import FingerprintRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.policies import PolicyRepository
from service.db.tables import Chip, Job
from service.db.upkeep_tables import Policy
from service.states import JobStatus
from tests.integration.upkeep_lab import Fleet
from tests.world import World

HOUR = 3600.0


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


@pytest.mark.both_databases
def test_a_chip_is_probed_once_each_time_it_is_due(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    assert fleet.plan() == [("probe", chip)]
    assert fleet.plan() == [("probe", chip)]
    fleet.probed(chip, score=0.1)
    fleet.pass_time(0.9 * HOUR)
    assert fleet.plan() == []
    fleet.pass_time(0.2 * HOUR)
    assert fleet.plan() == [("probe", chip)]


def test_planned_jobs_come_from_nobody_and_go_last(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    fleet.plan()
    (job,) = fleet.world.client.get("/v1/jobs", params={"kind": "probe"}).json()["items"]
    assert (job["chip_id"], job["priority"]) == (chip, 8)
    with fleet.world.context.database.reading() as session:
        assert JobRepository(session).get(job["id"]).key_id is None
        assert PolicyRepository(session).in_flight() == 1


def test_a_planned_job_may_have_the_passes_of_the_version_in_force(fleet: Fleet) -> None:
    chip, other = fleet.chip("a"), fleet.chip("b", probe_every_s=HOUR)
    with fleet.world.context.database.writing() as session:
        (job,) = session.scalars(select(Job).where(Job.chip_id == chip))
        job.request = job.request | {"passes_max": 4}
    fleet.rule(chip, probe_every_s=HOUR)
    assert sorted(fleet.plan()) == sorted([("probe", chip), ("probe", other)])
    with fleet.world.context.database.reading() as session:
        planned = session.scalars(select(Job).where(Job.kind == "probe")).all()
        assert {job.chip_id: job.request.get("passes_max") for job in planned} == {
            chip: 4,
            other: None,
        }


def test_a_planned_job_stands_in_the_audit_trail(fleet: Fleet) -> None:
    def submitted() -> list[Any]:
        query = {"action": "job.submitted"}
        items: list[Any] = fleet.world.client.get("/v1/audit", params=query).json()["items"]
        return [(one["subject"], one["key_id"], one["data"]) for one in items if not one["key_id"]]

    chip = fleet.chip("a", probe_every_s=HOUR)
    fleet.plan()
    (job,) = fleet.world.client.get("/v1/jobs", params={"kind": "probe"}).json()["items"]
    planned = (job["id"], None, {"by": "planner", "kind": "probe", "chip_id": chip})
    assert submitted() == [planned]
    fleet.plan()  # nothing is due
    assert submitted() == [planned]


@pytest.mark.both_databases
def test_two_planners_plan_once(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    slot = fleet.policy(chip)["probe_due_at"]
    fleet.plan()
    with fleet.world.context.database.writing() as session:  # the other one has not seen it yet
        due = datetime.fromisoformat(slot)
        session.execute(update(Policy).values(probe_due_at=due, due_at=due))
        session.execute(update(Job).where(Job.kind == "probe").values(status="succeeded"))
    assert fleet.another_planner().plan() == 0
    assert fleet.planned() == []


@pytest.mark.both_databases
def test_a_planner_that_dies_half_way_has_planned_nothing(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    before = fleet.world.stored()

    class DyingError(BaseException):
        """Ends the process: no error of one row, which would be isolated."""

    def die(*_: object) -> None:
        raise DyingError

    enqueue, fleet.world.engine.enqueue = fleet.world.engine.enqueue, die  # type: ignore
    with pytest.raises(DyingError):
        fleet.planner.plan()
    assert fleet.world.stored() == before
    fleet.world.engine.enqueue = enqueue  # type: ignore[method-assign]
    assert fleet.plan() == [("probe", chip)]


def test_a_high_score_has_the_chip_calibrated_and_a_low_one_does_not(fleet: Fleet) -> None:
    rules = {"probe_every_s": HOUR, "calibrate_at_score": 0.8, "pause_s": 0}
    low, high = fleet.chip("low", **rules), fleet.chip("high", **rules)
    fleet.plan()
    fleet.probed(low, score=0.79)
    fleet.probed(high, score=0.8)
    assert fleet.plan() == [("calibrate", high)]


def test_what_a_calibration_could_not_mend_is_left_alone_for_the_pause(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR, calibrate_at_score=0.8, pause_s=24 * HOUR)
    fleet.plan()
    fleet.pass_time(25 * HOUR)
    fleet.probed(chip, score=2.0)
    assert fleet.plan() == [("calibrate", chip)]
    fleet.finish(chip, JobStatus.FAILED)
    fleet.pass_time(23 * HOUR)
    assert fleet.plan() == [("probe", chip)]
    fleet.probed(chip, score=2.0)
    assert fleet.plan() == []
    fleet.pass_time(2 * HOUR)
    assert fleet.plan() == [("calibrate", chip)]


def test_a_chip_is_calibrated_by_age_and_after_so_many_jobs(fleet: Fleet) -> None:
    old = fleet.chip("old", calibrate_every_s=10 * HOUR)
    used = fleet.chip("used", calibrate_after_jobs=2, pause_s=0)
    for _ in range(2):
        assert ("calibrate", used) not in fleet.plan()
        body = {"kind": "evaluate", "chip_id": used, "student_id": fleet.student}
        fleet.world.submit(body)
        fleet.finish(used, JobStatus.FAILED)
    assert fleet.plan() == [("calibrate", used)]
    fleet.finish(used, JobStatus.FAILED)
    assert fleet.policy(used)["jobs"] == 0
    fleet.pass_time(11 * HOUR)
    assert fleet.plan() == [("calibrate", old)]


def test_the_longest_due_go_first_and_only_so_many(fleet: Fleet) -> None:
    chips = [fleet.chip(name, probe_every_s=HOUR) for name in "abcd"]
    fleet.planner = fleet.another_planner(in_flight=2)
    assert fleet.plan() == [("probe", chip) for chip in chips[:2]]
    assert fleet.plan() == [("probe", chip) for chip in chips[:2]]
    fleet.probed(chips[0], score=0.0)
    assert fleet.plan() == [("probe", chip) for chip in chips[1:3]]


@pytest.mark.both_databases
def test_who_cannot_be_probed_holds_up_nobody(fleet: Fleet) -> None:
    names = ("retired", "offline", "disabled", "busy", "bare", "fine")
    chips = {name: fleet.chip(name) for name in names if name != "bare"}
    chips["bare"] = fleet.world.register_chip("bare")["id"]
    for name in names:
        fleet.rule(chips[name], probe_every_s=HOUR, enabled=name != "disabled")
    fleet.world.calibrate(chips["busy"], fleet.student)
    assert fleet.world.client.delete(f"/v1/chips/{chips['retired']}").status_code == 200
    with fleet.world.context.database.writing() as session:
        session.execute(update(Chip).where(Chip.id == chips["offline"]).values(backend="http"))
    assert fleet.plan() == [("calibrate", chips["busy"]), ("probe", chips["fine"])]
    assert "calibrate it first" in fleet.policy(chips["bare"])["note"]
    with fleet.world.context.database.writing() as session:  # its agent is there after all
        session.execute(update(Chip).where(Chip.id == chips["offline"]).values(backend="simulated"))
    fleet.pass_time(61)
    assert fleet.plan()[-1] == ("probe", chips["offline"])


def test_who_cannot_be_driven_is_put_off_and_comes_back_with_the_end_of_its_job(
    fleet: Fleet,
) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    fleet.world.calibrate(chip, fleet.student)
    assert fleet.plan() == [("calibrate", chip)]
    fleet.finish(chip, JobStatus.FAILED)
    assert fleet.plan() == [("probe", chip)]


@pytest.mark.both_databases
def test_due_chips_are_found_by_their_index(fleet: Fleet) -> None:
    """10,000 of them must not be looked through."""
    with fleet.world.context.database.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            plan = "EXPLAIN QUERY PLAN"
        else:
            session.execute(text("SET LOCAL enable_seqscan = off"))  # a small table has no need
            plan = "EXPLAIN"
        query = "SELECT chip_id FROM policies WHERE due_at <= '2030-01-01' ORDER BY due_at LIMIT 9"
        lines = [str(row) for row in session.execute(text(f"{plan} {query}"))]
    assert any("ix_policies_due_at" in line for line in lines), lines


def test_a_policy_is_set_shown_and_dropped(fleet: Fleet) -> None:
    chip = fleet.chip("a")
    path = f"/v1/chips/{chip}/policy"
    assert fleet.world.client.get(path).status_code == 404
    set_to = fleet.rule(chip, probe_every_s=HOUR, settings={"stages": ["trims"]})
    assert set_to == fleet.policy(chip)
    assert (set_to["settings"]["stages"], set_to["pause_s"]) == (["trims"], 3600.0)
    assert fleet.world.client.delete(path).status_code == 204
    assert fleet.world.client.get(path).status_code == 404
    assert fleet.plan() == []


@pytest.mark.parametrize(
    "rules",
    [
        {"probe_every_s": 0.1},
        {"calibrate_at_score": 0},
        {"priority": 10},
        {"every": 3},
        {"settings": {"rule": "bptt"}},
    ],
)
def test_a_bad_policy_is_refused(fleet: Fleet, rules: dict[str, Any]) -> None:
    chip = fleet.chip("a")
    answer = fleet.world.client.put(f"/v1/chips/{chip}/policy", json=rules)
    assert answer.status_code == 422, answer.text
    assert fleet.world.client.get(f"/v1/chips/{chip}/policy").status_code == 404


def test_the_pages_show_how_far_chips_have_drifted(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    assert "sparkline" not in fleet.world.client.get("/").text
    for score in (0.31, 0.93):
        fleet.plan()
        fleet.probed(chip, score)
        fleet.pass_time(2 * HOUR)
    page = fleet.world.client.get("/").text
    assert "last 2 probes: 0.31, 0.93" in page
    assert page.count('class="sparkline"') == 1
    (row,) = re.findall(r"<tr id=.chip-.*?</tr>", page)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[0] == f'<a href="/chips/{chip}">a</a>'
    assert cells[2] == '<span class="health good">good</span>'
    assert cells[4:6] == [
        '<span class="health score good">0.93</span>',
        "about 2 points lost, 0.4 to 4",
    ]
    (job, _) = fleet.world.client.get("/v1/jobs", params={"kind": "probe"}).json()["items"]
    shown = fleet.world.client.get(f"/jobs/{job['id']}").text
    loss = "about 2 points lost, 0.4 to 4"
    assert f"Probe of a: {loss}, drift score 0.93, the chip is good." in shown
    assert "Drift of readout" in shown


def test_only_the_last_probes_are_drawn(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=HOUR)
    for score in (0.1, 0.2, 0.3):
        fleet.plan()
        fleet.probed(chip, score)
        fleet.pass_time(2 * HOUR)
    with fleet.world.context.database.reading() as session:
        fingerprints = FingerprintRepository(session)
        assert fingerprints.last_scores([chip], 2) == {chip: [0.2, 0.3]}
        assert fingerprints.last_scores([chip, "another"], 9) == {chip: [0.1, 0.2, 0.3]}
