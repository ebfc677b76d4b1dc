"""The benchmark of requests, from its first process to its figures, in a small form."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks.api.__main__ import main
from benchmarks.api.burst import Burst, missed_by
from benchmarks.fleet.processes import Host
from tests.integration.jobs_lab import QUEUE_POLL_S
from tests.postgres import Server
from tests.warm.client import WarmServer


@pytest.fixture
def host(warm: WarmServer, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Processes that have loaded the program, and the server of all tests."""
    monkeypatch.setenv("TANDEMCAL_QUEUE_POLL_S", QUEUE_POLL_S)
    return Host(warm.start, lambda: nullcontext(postgres))


def test_every_part_measures_what_it_says(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    assert main(["--quick", "--json", str(file)], host) == 0
    found = json.loads(file.read_text())
    (reads,) = found["reads"]["rounds"]
    assert {one["answers"] for one in reads.values()} == {300}
    assert found["reads"]["of_bare"].keys() == {"status", "unchanged"}
    assert min(found["reads"]["processor_us"].values()) > 0
    writes = found["writes"]
    assert [writes[name]["rounds"][0]["answers"] for name in ("submissions", "heartbeats")] == [
        20,
        40,
    ]
    assert not [line for line in writes["missed"] if "jobs of" in line]  # none lost, none doubled
    for database in ("postgresql", "sqlite"):
        (burst,) = found["burst"][database]
        assert burst["statuses"] == {"202": 20}
        assert 0 < burst["first_s"] <= burst["last_s"]
    assert found["page"]["bytes"] > 1000
    assert min(found["listeners"]["heard"]) > 0
    assert found["listeners"]["latency"]["busy_share"] > 0


@pytest.mark.parametrize("wrong", [Burst({202: 99, 503: 1}, 0.1, 1.9), Burst({202: 100}, 0.1, 2.1)])
def test_a_submission_that_is_refused_or_late_is_missed(wrong: Burst) -> None:
    good = Burst({202: 100}, 0.1, 1.9)
    assert missed_by([good]) == []
    assert len(missed_by([good, wrong])) == 1
