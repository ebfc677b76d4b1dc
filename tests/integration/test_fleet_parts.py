"""Every part of the fleet's benchmark, from its first process to its figures, in a small form."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.fleet import commits, http, queue, recovery, rows, storage, wire, workers
from benchmarks.fleet.__main__ import PARTS, main
from benchmarks.fleet.population import Size
from benchmarks.fleet.processes import Host
from benchmarks.job_latency import SMALL
from tests.integration.fleet_lab import QUICK
from tests.integration.jobs_lab import QUEUE_POLL_S
from tests.postgres import Server
from tests.warm.client import WarmServer

Found = dict[str, Any]
EXTENTS: Mapping[str, Any] = {
    "workers": workers.Extent(rounds=1, jobs=1, samples=64, workload=SMALL),
    "recovery": recovery.Extent({"quick": QUICK}, repetitions=1, phases=0, workload=SMALL),
    "http": http.Extent(pairs=1, samples=64, rounds=1, workload=SMALL),
    "wire": wire.QUICK,
    "queue": queue.Extent(chips=2, jobs=8, part=4, few=4, drained=1),
    "rows": rows.Extent(Size(chips=100, jobs=2_000, waiting=20, running=4), rounds=1),
    "storage": storage.Extent(copies=20, jobs=1, samples=320, workload=SMALL),
    "commits": commits.Extent(seconds=0.2, agents=2, beats=10),
}


@pytest.fixture
def host(warm: WarmServer, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Processes that have loaded the program, and the server of all tests."""
    monkeypatch.setenv("TANDEMCAL_QUEUE_POLL_S", QUEUE_POLL_S)
    return Host(warm.start, lambda: nullcontext(postgres))


def one_and_two_workers(found: Found) -> None:
    one, two = found["rates"]
    assert [(rate["workers"], rate["jobs"]) for rate in (one, two)] == [(1, 1), (2, 2)]
    assert found["ratio"] == two["jobs_an_hour"] / one["jobs_an_hour"]
    single = {"benchmark", "api", "first", "first's jobs", "others"}
    assert single <= set(one["processor"])
    assert single | {"second", "second's jobs"} <= set(two["processor"])


def a_recovery(found: Found) -> None:
    report = found["settings"]["quick"]
    (measured,) = report["recoveries"]
    assert 0 < measured["begun"] < measured["working"]
    assert report["begun"]["worst"] == measured["begun"]
    assert found["passed"] == (measured["begun"] <= report["bound_s"])


def equal_pairs(found: Found) -> None:
    (pair,) = found["pairs"]
    assert pair["alike"]
    assert found["ratio"] == pair["over_http"] / pair["in_process"] > 0
    assert found["processor_ratio"] > 0


def bytes_of_a_run(found: Found) -> None:
    assert found["packed_bytes"] < found["float32_bytes"] / 20  # a bit each, not 32
    assert 0 < found["spikes_a_step"] < 1
    assert min(found[level]["ratio"] for level in ("zlib_1", "zlib_6")) > 1


def jobs_in_and_out(found: Found) -> None:
    assert [rate["number"] for rate in found["in"]] == [4, 4]
    assert all(rate["number"] >= 1 for rate in found["out"].values())
    assert {"first", "second", "api"} <= set(found["out"]["many"]["processor"])


def all_questions(found: Found) -> None:
    assert set(rows.HELD) <= set(found["questions"])
    assert all(report["statements"] for report in found["questions"].values())
    assert found["sizes"]["jobs"]["rows"] == EXTENTS["rows"].size.jobs + 1  # the training


def rows_of_each_kind(found: Found) -> None:
    assert set(found["kinds"]) == {"calibrate", "probe", "evaluate"}
    for kind, report in found["kinds"].items():
        tables = report["tables"]
        assert {"public.jobs", "public.events", "dbos.workflow_status"} <= set(tables), kind
        assert tables["public.jobs"]["rows"] == 1
        assert report["bytes"] > 0
    assert "public.weight_versions" in found["kinds"]["calibrate"]["tables"]


def commits_and_beats(found: Found) -> None:
    assert [rate["load"] for rate in found["commits"]] == list(commits.WRITERS)
    assert all(rate["number"] > 0 for rate in found["commits"])
    assert found["beats"]["number"] == EXTENTS["commits"].beats


CLAIMS: Mapping[str, Callable[[Found], None]] = {
    "workers": one_and_two_workers,
    "recovery": a_recovery,
    "http": equal_pairs,
    "wire": bytes_of_a_run,
    "queue": jobs_in_and_out,
    "rows": all_questions,
    "storage": rows_of_each_kind,
    "commits": commits_and_beats,
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_measures_what_it_says(name: str, host: Host) -> None:
    found = PARTS[name].measure(Console(file=io.StringIO()), EXTENTS[name], host)
    CLAIMS[name](found)
    assert json.loads(json.dumps(found))


def test_the_command_writes_the_figures_of_the_parts_it_was_given(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    chosen = ["--part", "rows", "--part", "wire", "--quick", "--plans", "--json", str(path)]
    assert main(chosen, host) == 0
    assert {"command", "machine", "rows", "wire"} == set(json.loads(path.read_text())) - {"date"}
    assert "Index Scan" in capsys.readouterr().out  # of --plans


def test_a_figure_out_of_its_limit_fails_the_check(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missed = {"passed": False, "missed": ["too slow"]}
    part = PARTS["wire"]._replace(measure=lambda *_: missed)
    monkeypatch.setitem(PARTS, "wire", part)
    assert main(["--part", "wire"], host) == 0
    assert main(["--part", "wire", "--check"], host) == 1
    assert "missed: wire: too slow" in capsys.readouterr().out
