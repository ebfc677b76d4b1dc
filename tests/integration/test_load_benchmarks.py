"""The benchmarks of attacks and of the soak, from their first process to their figures."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.attacks.__main__ import ATTACKS, main, missed_by
from benchmarks.fleet.processes import Host
from benchmarks.job_latency import SMALL
from benchmarks.soak import record
from benchmarks.soak.__main__ import measure
from benchmarks.soak.record import Extent, Sample, growth
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
    assert main(["--seconds", "0.5", "--json", str(file), *parts], host, SMALL) == 0
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
    ],
)
def test_an_attack_that_was_felt_misses_its_limit(wrong: dict[str, Any]) -> None:
    assert missed_by(FELT) == []
    assert len(missed_by(FELT | wrong)) == 1


def test_a_soak_loses_nothing_though_workers_are_killed(host: Host) -> None:
    extent = Extent(4.0, 2, 2, 10.0, 1.5, 0.5, chips=2, samples=64, workload=SMALL)
    found = measure(Console(quiet=True), extent, host)
    assert found["jobs"] == 2
    assert found["kills"] == 2
    assert found["lost"] == {"not succeeded": 0, "missing": 0, "ended not once": 0}
    assert found["streams"] == {"whole": 2}
    assert found["polls"].keys() == {"200"}
    assert {"api", "first", "second"} <= found["held"].keys()


def test_what_grows_or_is_lost_misses_its_limit() -> None:
    extent = Extent(100.0, 1)

    def held(mib: float, descriptors: int) -> dict[str, float]:
        late = [Sample(80.0, "api", mib, descriptors)]
        return growth(extent, [Sample(60.0, "api", 200.0, 50), *late])

    found: dict[str, Any] = {
        "lost": {"missing": 0},
        "streams": {"whole": 1},
        "polls": {"200": 1},
        "held": {"api": held(210.0, 52)},
    }
    assert record.missed_by(found) == []
    for wrong in (
        {"lost": {"missing": 1}},
        {"streams": {"whole": 1, "doubled": 1}},
        {"polls": {"200": 1, "503": 1}},
        {"held": {"api": held(230.0, 50)}},
        {"held": {"api": held(200.0, 60)}},
    ):
        assert len(record.missed_by(found | wrong)) == 1
