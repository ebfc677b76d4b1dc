"""Chips that are due are planned for: once, the oldest first, and not when there is no point."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from service.api.context import utc_now
from service.db.repositories.chips import Publication, WeightRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.policies import PolicyRepository
from service.db.tables import Chip, Job
from service.db.upkeep_tables import Policy
from service.jobs.messages import Ended
from service.jobs.planner import Planner
from service.jobs.records import Recorder
from service.states import JobStatus
from tests.conftest import World

HOUR = 3600.0
ANSWER = {"rates": {"readout": [0.5, 0.1]}, "noise": None, "probes": 1, "chip_time_s": 3.0}


class Fleet:
    """A world whose chips have weights in force and policies, and a planner of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.student = world.trained_student()
        self.planner = self.another_planner()

    def another_planner(self, in_flight: int = 10) -> Planner:
        return Planner(self.world.context.database, self.world.engine, in_flight)

    def chip(self, name: str, **rules: Any) -> str:
        """A calibrated chip with this policy."""
        chip = str(self.world.register_chip(name)["id"])
        job = self.world.calibrate(chip, self.student)["id"]
        with self.world.context.database.writing() as session:
            token = self._drive(job)
            publication = Publication(
                job_id=job,
                token=token,
                block=b"codes",
                chip_time=1.0,
                rule="ltl-online",
                observable="window",
                accuracy={"golden": 0.9, "before": 0.5, "after": 0.9},
                fingerprint=ANSWER,
                code_version="1",
            )
            WeightRepository(session).publish(publication, utc_now())
            JobRepository(session).end(job, token, JobStatus.SUCCEEDED, None, {}, utc_now())
            LeaseRepository(session).release(chip, token)
        if rules:
            self.rule(chip, **rules)
        return chip

    def rule(self, chip: str, **rules: Any) -> Any:
        answer = self.world.client.put(f"/v1/chips/{chip}/policy", json=rules)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def policy(self, chip: str) -> Any:
        return self.world.client.get(f"/v1/chips/{chip}/policy").json()

    def planned(self) -> list[tuple[str, str]]:
        """Open jobs by kind and chip, the oldest first."""
        with self.world.context.database.reading() as session:
            jobs = session.scalars(select(Job).where(Job.status == "queued").order_by(Job.id))
            return [(job.kind, str(job.chip_id)) for job in jobs]

    def plan(self) -> list[tuple[str, str]]:
        self.planner.plan()
        return self.planned()

    def pass_time(self, seconds: float) -> None:
        """As if everything had happened so much earlier."""
        step = timedelta(seconds=seconds)
        names = ("probe_due_at", "calibrate_due_at", "due_at", "calibrated_at")
        with self.world.context.database.writing() as session:
            for policy in session.scalars(select(Policy)):
                for name in names:
                    at: datetime | None = getattr(policy, name)
                    setattr(policy, name, at and at - step)

    def finish(self, chip: str, status: JobStatus, **result: Any) -> None:
        """What a worker does with the chip's open job."""
        with self.world.context.database.reading() as session:
            query = select(Job).where(Job.chip_id == chip, Job.status == "queued")
            job = session.scalars(query).one()
        token = self._drive(job.id)
        ended = Ended(status=status, reason="of the test", result=result)  # type: ignore[arg-type]
        with self.world.context.database.writing() as session:
            job = JobRepository(session).get(job.id)
            Recorder(session, job, token, utc_now()).end(ended, self.world.context.artifacts)

    def probed(self, chip: str, score: float) -> None:
        """The chip's open probe found this."""
        result = {"score": score, "health": "good", "version": 1, "fingerprint": ANSWER}
        self.finish(chip, JobStatus.SUCCEEDED, **result)

    def _drive(self, job: str) -> int:
        return self.world.drive(job)


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

    class Dying(Exception):
        pass

    def die(*_: object) -> None:
        raise Dying

    enqueue, fleet.world.engine.enqueue = fleet.world.engine.enqueue, die  # type: ignore
    with pytest.raises(Dying):
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
    assert fleet.plan()[-1] == ("probe", chips["offline"])


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
    set_to = fleet.rule(chip, probe_every_s=HOUR, settings={"change": "trims"})
    assert set_to == fleet.policy(chip)
    assert (set_to["settings"]["change"], set_to["pause_s"]) == ("trims", 3600.0)
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
