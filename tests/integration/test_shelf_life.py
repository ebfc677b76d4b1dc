"""Validity: probes find it, policies act before it ends, and old rows stop nobody."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ltl_core.calibration.shelf_life import LONGEST_S
from service.db.repositories.due_times import VersionLife, next_expiry
from service.db.tables import WeightVersion
from service.db.upkeep_tables import Fingerprint, Policy
from service.jobs.kinds.shelf_life import ClockReading, clock_rate
from service.states import JobStatus
from tests.integration.upkeep_lab import ANSWER, CURVE, Fleet
from tests.world import World

HOUR, DAY = 3600.0, 86_400.0
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


def shown(fleet: Fleet, chip: str) -> Any:
    return fleet.world.client.get(f"/v1/chips/{chip}").json()


def probe(fleet: Fleet, chip: str, age_s: float, score: float | None) -> Any:
    """Probe the chip at an age of its version; its clock runs as ours does."""
    answer = fleet.world.client.post(
        "/v1/jobs", json={"kind": "probe", "chip_id": chip}, headers={"Idempotency-Key": str(age_s)}
    )
    assert answer.status_code == 202, answer.text
    probed(fleet, chip, age_s, score)
    return shown(fleet, chip)


def probed(fleet: Fleet, chip: str, age_s: float, score: float | None) -> None:
    """The chip's open probe found this."""
    found: dict[str, Any] = {
        "score": score,
        "version": 1,
        "layers": [],
        "loss_curve": CURVE,
        "clock_rate": 1.0,
    }
    answer = ANSWER | {"chip_time_s": 1.0 + age_s}
    fleet.finish(chip, JobStatus.SUCCEEDED, fingerprint=answer, **found)


def published_ago(fleet: Fleet, seconds: float) -> None:
    """As if all versions had been published so much earlier."""
    step = timedelta(seconds=seconds)
    with fleet.world.context.database.writing() as session:
        for version in session.scalars(select(WeightVersion)):
            version.created_at -= step
        for fingerprint in session.scalars(select(Fingerprint)):
            fingerprint.created_at -= step


def seconds_left(chip: Any) -> float:
    left = datetime.fromisoformat(chip["valid_until"]) - datetime.now(UTC)
    return left.total_seconds()


def test_a_probe_tells_how_long_the_version_holds(fleet: Fleet) -> None:
    chip = fleet.chip("a")
    assert shown(fleet, chip)["validity"] is None  # published by an earlier release
    published_ago(fleet, HOUR)
    slow = probe(fleet, chip, HOUR, 0.2)
    assert 0 < slow["validity"]["low_s"] < slow["validity"]["age_s"] < slow["validity"]["high_s"]
    assert seconds_left(slow) == pytest.approx(slow["validity"]["low_s"] - HOUR, abs=30)
    version = fleet.world.client.get(f"/v1/chips/{chip}/weights/1").json()
    assert version["validity"] == slow["validity"]
    assert set(version["validity"]) == {"age_s", "low_s", "high_s"}
    fast = probe(fleet, chip, 2 * HOUR, 1.0)
    assert fast["validity"]["high_s"] < slow["validity"]["age_s"]


def test_the_fleet_page_and_the_metrics_show_it(fleet: Fleet) -> None:
    chip = fleet.chip("a")
    until = datetime.fromisoformat(probe(fleet, chip, HOUR, 0.1)["valid_until"])
    assert f"{until:%Y-%m-%d %H:%M:%S} UTC" in fleet.world.client.get("/").text
    metrics = fleet.world.client.get("/metrics").text
    (value,) = re.findall(r'valid_until_timestamp_seconds{chip="a"} (.*)', metrics)
    assert float(value) == until.timestamp()


def test_another_chip_learns_from_the_first(fleet: Fleet) -> None:
    known, fresh = fleet.chip("known"), fleet.chip("fresh")
    before = probe(fleet, fresh, 1.0, 0.0)["validity"]
    probe(fleet, known, 30 * DAY, 0.05)  # of the same model: it hardly drifts
    assert probe(fleet, fresh, 2.0, 0.0)["validity"]["low_s"] > before["low_s"]


def test_the_planner_measures_and_then_calibrates_before_the_end(fleet: Fleet) -> None:
    chip = fleet.chip("a", calibrate_before_expiry=True)
    assert fleet.plan() == [("probe", chip)]  # its validity is not known yet
    published_ago(fleet, HOUR)
    probed(fleet, chip, HOUR, 0.2)
    end = datetime.fromisoformat(shown(fleet, chip)["valid_until"])
    due = datetime.fromisoformat(fleet.policy(chip)["expiry_due_at"])
    assert end - timedelta(minutes=15) <= due < end
    assert fleet.plan() == []
    make_due(fleet, chip, 0.9 * (end - datetime.now(UTC)).total_seconds())
    assert fleet.plan() == [("probe", chip)]  # what is known is much younger than the version
    age = HOUR + 0.9 * (end - datetime.now(UTC)).total_seconds()
    probed(fleet, chip, age, 1.3)  # it drifts faster than was thought
    assert fleet.plan() == [("calibrate", chip)]
    wanted = {"kind": "calibrate", "status": "queued"}
    (job,) = fleet.world.client.get("/v1/jobs", params=wanted).json()["items"]
    assert job["settings"]["stages"] == ["drift", "trims", "cells"]


def make_due(fleet: Fleet, chip: str, passed: float) -> None:
    """As if this time had passed."""
    published_ago(fleet, passed)
    with fleet.world.context.database.writing() as session:
        policy = session.get_one(Policy, chip)
        now = datetime.now(UTC)
        policy.expiry_due_at = policy.due_at = now
        policy.calibrated_at = None


def test_a_policy_that_does_not_ask_for_it_is_left_alone(fleet: Fleet) -> None:
    chip = fleet.chip("a", probe_every_s=DAY)
    probe(fleet, chip, DAY, 1.5)
    assert fleet.policy(chip)["expiry_due_at"] is None
    assert fleet.plan() == []


def policy(**rules: Any) -> Policy:
    given: dict[str, Any] = {
        "quiet_hours": [],
        "fixed_times": None,
        "calibrated_at": None,
        "pause_s": 0.0,
    }
    return Policy(chip_id="a", calibrate_before_expiry=True, **(given | rules))


def life(until: datetime | None, **known: Any) -> VersionLife:
    given = {"published_at": NOW - timedelta(days=1), "probed_at": None, "has_validity": True}
    return VersionLife(valid_until=until, **(given | known))


def test_quiet_hours_move_it_earlier_and_never_past_the_end() -> None:
    until = NOW + timedelta(days=1)
    night = policy(quiet_hours=[{"begin": "08:00", "end": "18:00"}])
    assert next_expiry(policy(), life(until), NOW) == until - timedelta(minutes=14)
    assert next_expiry(night, life(until), NOW) == datetime(2026, 3, 11, 7, 45, tzinfo=UTC)
    fixed = policy(fixed_times=["15:00", "20:00"])
    assert next_expiry(fixed, life(until), NOW) == datetime(2026, 3, 10, 20, 0, tzinfo=UTC)


def test_where_no_time_is_left_before_the_end_the_first_one_counts() -> None:
    night = policy(quiet_hours=[{"begin": "08:00", "end": "18:00"}])
    soon = NOW + timedelta(hours=2)
    assert next_expiry(night, life(soon), NOW) == datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
    assert next_expiry(policy(), life(NOW - timedelta(days=1)), NOW) == NOW


def test_a_calibration_that_published_nothing_is_not_repeated_at_once() -> None:
    tried = policy(calibrated_at=NOW - timedelta(hours=1), pause_s=60.0)
    published = {"published_at": NOW - timedelta(hours=11)}
    due = next_expiry(tried, life(NOW, **published), NOW)
    assert due == NOW + timedelta(hours=4)  # half of its age of ten hours after the calibration
    fresh = {"published_at": NOW - timedelta(hours=1)}
    assert next_expiry(tried, life(NOW, **fresh), NOW) == NOW


def test_a_version_without_an_end_in_sight_is_left_alone() -> None:
    assert next_expiry(policy(), life(None), NOW) is None
    assert next_expiry(policy(), None, NOW) is None
    assert next_expiry(policy(), life(None, has_validity=False), NOW) == NOW


def test_quiet_hours_hold_for_every_planned_job(fleet: Fleet) -> None:
    now = datetime.now(UTC)
    quiet = [
        {"begin": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}"}
    ]
    chip = fleet.chip("a", probe_every_s=HOUR, quiet_hours=quiet)
    due = datetime.fromisoformat(fleet.policy(chip)["probe_due_at"])
    assert timedelta(minutes=58) < due - now < timedelta(minutes=61)
    make_all_due(fleet, chip)  # as if the planner had been away until now
    assert fleet.plan() == []
    assert datetime.fromisoformat(fleet.policy(chip)["probe_due_at"]) == due
    fleet.rule(chip, probe_every_s=HOUR)
    assert fleet.plan() == [("probe", chip)]


def make_all_due(fleet: Fleet, chip: str) -> None:
    with fleet.world.context.database.writing() as session:
        policy = session.get_one(Policy, chip)
        policy.probe_due_at = policy.due_at = datetime.now(UTC)


def test_a_day_without_an_open_minute_is_refused(fleet: Fleet) -> None:
    chip = fleet.chip("a")
    rules = {"quiet_hours": [{"begin": "08:00", "end": "08:00"}]}
    answer = fleet.world.client.put(f"/v1/chips/{chip}/policy", json=rules)
    assert answer.status_code == 422
    assert "no time of day" in answer.text
    wrong = {"fixed_times": ["24:00"]}
    assert fleet.world.client.put(f"/v1/chips/{chip}/policy", json=wrong).status_code == 422


def test_rows_without_fingerprint_or_validity_do_not_stop_the_planner(fleet: Fleet) -> None:
    """Of versions of earlier releases, whose fingerprints nobody took."""
    poisoned = [fleet.chip(name, calibrate_before_expiry=True) for name in ("a", "b")]
    sound = fleet.chip("c", calibrate_before_expiry=True)
    with fleet.world.context.database.writing() as session:
        for version in session.scalars(select(WeightVersion)):
            if version.chip_id in poisoned:
                version.fingerprint = None
        session.get_one(Policy, poisoned[1]).quiet_hours = None
        session.get_one(Policy, poisoned[1]).fixed_times = None
    assert sorted(fleet.plan()) == sorted(("probe", chip) for chip in (*poisoned, sound))
    for chip in poisoned:
        probed(fleet, chip, HOUR, None)
        assert shown(fleet, chip)["validity"]["high_s"] > DAY  # of chips in general
    assert fleet.policy(poisoned[1])["quiet_hours"] == []


def test_a_chip_whose_clock_stands_still_never_expires(fleet: Fleet) -> None:
    chip = fleet.chip("a")
    job = {"kind": "probe", "chip_id": chip}
    fleet.world.client.post("/v1/jobs", json=job, headers={"Idempotency-Key": "still"})
    found = {"score": 0.3, "version": 1, "layers": [], "loss_curve": CURVE, "clock_rate": 0.0}
    fleet.finish(chip, JobStatus.SUCCEEDED, fingerprint=ANSWER, **found)
    assert shown(fleet, chip)["validity"]["low_s"] < LONGEST_S
    assert shown(fleet, chip)["valid_until"] is None


@pytest.mark.parametrize("rate", [0.0, 1.0, 60.0])
def test_the_rate_of_a_clock_is_found_from_its_readings(rate: float) -> None:
    first = ClockReading(100.0, NOW)
    later = ClockReading(100.0 + rate * 30 * DAY, NOW + timedelta(days=30))
    assert clock_rate([first], later) == pytest.approx(rate, rel=0.01, abs=0.001)


def test_a_settling_in_no_time_does_not_count_as_a_fast_clock() -> None:
    first, later = ClockReading(0.0, NOW), ClockReading(120.0, NOW + timedelta(seconds=2))
    assert clock_rate([first], later) == pytest.approx(1.2, abs=0.01)
    assert clock_rate([], later) == 1.0
