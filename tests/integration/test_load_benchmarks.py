"""The benchmarks of attacks and of the soak, from their first process to their figures."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.attacks.__main__ import ATTACKS, main, missed_by
from benchmarks.fleet.processes import Host
from benchmarks.job_latency import SMALL
from benchmarks.soak.__main__ import measure
from benchmarks.soak.record import Extent, Record, Sample, Stored, growth, streams
from benchmarks.soak.record import missed_by as missed_by_soak
from tests.integration.fleet_lab import QUICK
from tests.integration.jobs_lab import QUEUE_POLL_S
from tests.postgres import Server
from tests.warm.client import WarmServer


@pytest.fixture
def host(warm: WarmServer, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Processes that have loaded the program, and the server of all tests."""
    for name, value in {"TANDEMCAL_QUEUE_POLL_S": QUEUE_POLL_S, **QUICK}.items():
        monkeypatch.setenv(name, value)
    return Host(warm.start, lambda: nullcontext(postgres))


def test_every_attack_is_made_and_felt(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    parts = [word for name in ATTACKS for word in ("--part", name)]
    assert (
        main(["--seconds", "0.5", "--priority", "equal", "--json", str(file), *parts], host, SMALL)
        == 0
    )
    found = json.loads(file.read_text())
    assert found["bodies"]["stranger"]["bytes"] > 1_000_000
    assert found["headers"]["stranger"]["connections"] > 20
    assert found["connections"]["stranger"]["connections"] > 20
    assert set(found["connections"]["key_holder"]) == {"422"}
    for name in ATTACKS:
        felt = found[name]
        assert felt["requests"] == 25
        assert 0 < felt["p50_ms"] <= felt["p99_ms"] <= felt["worst_ms"]
        assert (felt["leases_lost"], felt["attempts"]) == (0, 1)
        assert felt["status"] in ("running", "succeeded")
        assert felt["growth_mib"] < 200


FELT = {"p99_ms": 99.0, "growth_mib": 150.0, "leases_lost": 0, "status": "running", "attempts": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"p99_ms": 101.0},
        {"growth_mib": 200.0},
        {"leases_lost": 1},
        {"status": "failed"},
        {"attempts": 2},
        {"key_holder": {"422": 5, "202": 1}},
        {"key_holder": {"429": 5}},
        {"key_holder": {}},
    ],
)
def test_an_attack_that_was_felt_misses_its_limit(wrong: dict[str, Any]) -> None:
    assert missed_by(FELT) == []
    assert len(missed_by(FELT | wrong)) == 1


def test_a_soak_loses_nothing_though_workers_are_killed(host: Host) -> None:
    extent = Extent(4.0, 2, 2, 10.0, 1.5, 0.25, chips=2, samples=64, workload=SMALL)
    found = measure(Console(quiet=True), extent, host)
    assert (found["jobs"], found["kills"], extent.kills) == (2, 2, 2)
    assert found["streams"] == {"whole": 2}
    assert found["polls"].keys() == {"200"}
    assert found["held"].keys() == {"api", "first", "postgresql", "second"}
    # In four seconds processes still warm up: only what is lost is judged.
    assert not set(found["lost"].values()) - {0}
    assert not found["failures"]


def test_a_soak_ends_at_its_deadline_and_tells_what_had_not_ended(host: Host) -> None:
    extent = Extent(0.5, 4, 2, 10.0, 9.0, 0.1, 2, 64, SMALL, end_within_s=0.0)
    found = measure(Console(quiet=True), extent, host)
    assert found["lost"]["not ended"] > 0
    assert found["streams"]["not ended"] > 0
    assert {"4 streams: not ended", "1 times: the deadline passed before everything had ended"} & {
        *found["missed"]
    }


EXTENT = Extent(100.0, 1, kill_every_s=60.0)


def held(*lives: Sequence[float], handles: float = 50) -> dict[str, float] | None:
    """Growth of a process whose lives hold so many MiB, sampled every 5 s."""
    return growth(
        [
            Sample(5.0 * number, "api", pid, mib, round(handles) if number >= 15 else 50)
            for pid, life in enumerate(lives)
            for number, mib in enumerate(life)
        ]
    )


FLAT = [200.0] * 15 + [210.0] * 5
FOUND: dict[str, Any] = {
    "jobs": 1,
    "kills": 1,
    "lost": {"missing": 0},
    "streams": {"whole": 1},
    "polls": {"200": 4900},
    "failures": {},
    "held": {"api": held(FLAT)},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost": {"missing": 1}},
        {"streams": {"whole": 1, "doubled": 1}},
        {"polls": {"200": 4900, "503": 1}},
        {"polls": {}},
        {"polls": {"200": 4000}},
        {"failures": {"first was seen dead": 1}},
        {"jobs": 0},
        {"kills": 0},
        {"held": {"api": held([200.0] * 15 + [230.0] * 5)}},
        {"held": {"api": held(FLAT, [100.0] * 15 + [130.0] * 5)}},
        {"held": {"api": held([200.0] * 15 + [210.0] * 5, handles=60)}},
        {"held": {"api": held([200.0] * 3)}},
        {"held": {"api": held()}},
    ],
)
def test_what_grows_is_lost_or_was_not_measured_is_missed(wrong: dict[str, Any]) -> None:
    assert missed_by_soak(EXTENT, FOUND) == []
    assert len(missed_by_soak(EXTENT, FOUND | wrong)) == 1


def test_a_young_process_is_not_compared_with_an_old_one() -> None:
    old, young = [300.0] * 20, [150.0] * 20
    assert missed_by_soak(EXTENT, FOUND | {"held": {"first": held(young, old)}}) == []


def test_events_that_a_listener_did_not_get_or_got_twice_are_seen() -> None:
    sent = {"a": [1, 4, 6], "b": [2, 3], "c": [5], "d": [7]}
    record = Record()
    record.jobs = list(sent)
    record.streams = {"a": [1, 4, 6], "b": [3], "c": [5, 5]}
    known = Stored(dict.fromkeys(sent, "succeeded"), sent, dict.fromkeys(sent, 1), [], [])
    assert streams(record, known) == {"whole": 1, "with gaps": 1, "doubled": 1, "not ended": 1}
