"""The command line against a real service: a chip from its registration to its weights."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.client.aio.job import AsyncJob
from service.client.aio.sdk import AsyncTandemcal
from service.client.errors import TandemcalError
from service.client.jobs import Queueing
from service.client.sdk import Tandemcal
from service.formatting import short_id
from tests.integration.jobs_lab import Lab, SeededLab, Service, a_lab, until

Command = Callable[..., Result]
QUICK = {"batch": 32, "settle_s": 0, "stages": ["trims"], "target_points": None}


@pytest.fixture(scope="module")
def lab(seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with a_lab(seeded_lab, tmp_path_factory.mktemp("command-line")) as lab:
        yield lab


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    """One service for all tests here."""
    service = Service(lab)
    yield service
    service.stop()


@pytest.fixture
def tandemcal(service: Service, lab: Lab) -> Command:
    """Run a command against the service, as a shell would."""
    environment = {
        "TANDEMCAL_URL": str(service.http.base_url),
        "TANDEMCAL_KEY": lab.settings.key_file.read_text().strip(),
        "TANDEMCAL_DATA_DIR": str(lab.settings.data_dir),
        "COLUMNS": "80",
    }
    return lambda *words, **more: CliRunner().invoke(app, words, env=environment, **more)


def printed(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_chip_is_registered_calibrated_and_listed(tandemcal: Command, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(QUICK))
    made = printed(tandemcal("chips", "register", "bench-pcm", "--preset", "pcm", "--json"))
    chosen = ("--student", "teacher", "--samples", "64", "--settings", str(settings))
    job = printed(tandemcal("chips", "calibrate", "bench-pcm", *chosen, "--json"))
    assert (job["chip_id"], job["status"]) == (made["id"], "succeeded")
    assert job["settings"]["budget"]["samples"] == 64
    shown = tandemcal("jobs", "show", short_id(job["id"]))
    assert "bench-pcm" in shown.stdout
    assert "accuracy golden 0." in shown.stdout
    assert "{" not in shown.stdout  # words; --json shows JSON
    assert printed(tandemcal("jobs", "list", "--chip", "bench-pcm", "--json"))[0] == job


def test_a_table_fits_80_columns_and_cuts_nothing(lab: Lab, tandemcal: Command) -> None:
    name = "a chip whose name is so long that it has to be folded into several lines"
    lab.chip(name)
    table = tandemcal("chips").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    assert re.sub(r"\s", "", name) in re.sub(r"\s", "", "".join(first_column(table)))


def first_column(table: str) -> list[str]:
    """Return the cells of the first column, which ends where its title's neighbour begins."""
    title = next(line for line in table.splitlines() if "Health" in line)
    return [line[: title.index("Health")] for line in table.splitlines()]


def test_a_probe_says_how_far_a_chip_has_drifted(
    lab: Lab, service: Service, tandemcal: Command
) -> None:
    service.published(lab.chip("drifts", preset="pcm"))
    for words in (("chips", "probe"), ("probe",)):  # the earlier name too
        done = tandemcal(*words, "drifts")
        assert done.exit_code == 0, done.output
        assert re.search(r"drift score \d+\.\d\d, health \w+", done.stdout)
    versions = tandemcal("weights", "list", "drifts").stdout
    assert "1 " in versions
    assert max(map(len, versions.splitlines())) <= 80
    [found, *_] = printed(tandemcal("weights", "diff", "drifts", "1", "1", "--json"))
    assert (found["entries"] > 0, found["changed"]) == (True, 0)


def test_a_target_set_is_listed_shown_and_deleted(service: Service, tandemcal: Command) -> None:
    [teacher, *_] = printed(tandemcal("teachers", "--json"))
    body = {"name": "half", "teacher_id": teacher["id"], "chunks": 3, "percentile": 99.0}
    made = service.http.post("/v1/target-sets", json=body).json()
    listed = tandemcal("targets").stdout
    assert re.search(rf"{short_id(made['id'])} +half +{teacher['name']} +\w+ +0 of 3", listed)
    assert re.search(r"missing +0, 1, 2\n", tandemcal("targets", "show", "half").stdout)
    assert tandemcal("targets", "delete", short_id(made["id"])).exit_code == 0
    assert tandemcal("targets", "show", "half").exit_code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("chips", "list"), 0),
        (("teachers",), 0),
        (("students", "--json"), 0),
        (("chips", "show"), 2),
        (("chips", "calibrate", "nobody", "--settings", "/no/such/file"), 2),
        (("chips", "show", "nobody"), 3),
        (("jobs", "show", "0badcafe"), 3),
        (("jobs", "watch", "0badcafe"), 3),
    ],
)
def test_the_exit_code_says_how_it_ended(
    tandemcal: Command, words: tuple[str, ...], code: int
) -> None:
    assert tandemcal(*words).exit_code == code


def test_a_job_that_fails_ends_with_1(lab: Lab, tandemcal: Command) -> None:
    lab.chip("too-small", overrides={"tile_rows": 8, "tile_columns": 4, "tiles": 2})
    done = tandemcal("chips", "calibrate", "too-small", "--student", "teacher", "--samples", "64")
    assert done.exit_code == 1
    assert "failed" in done.stdout


def test_a_request_is_submitted_from_the_standard_input(lab: Lab, tandemcal: Command) -> None:
    body = {"kind": "evaluate", "chip_id": lab.chip("asked"), "student_id": lab.seeded.student_id}
    job = printed(tandemcal("jobs", "submit", "-", "--wait", "--json", input=json.dumps(body)))
    assert (job["kind"], job["status"]) == ("evaluate", "succeeded")
    assert "succeeded" in tandemcal("jobs", "log", job["id"]).stdout
    again = printed(tandemcal("jobs", "retry", short_id(job["id"]), "--wait", "--json"))
    assert again["id"] != job["id"]


def test_a_retired_chip_takes_no_more_jobs(lab: Lab, tandemcal: Command) -> None:
    lab.chip("worn")
    assert printed(tandemcal("chips", "retire", "worn", "--json"))["retired_at"] is not None
    refused = tandemcal("chips", "tune", "worn", "--student", "teacher")
    assert (refused.exit_code, "retired" in refused.stderr) == (3, True)


def test_a_policy_is_set_shown_and_dropped(lab: Lab, tandemcal: Command) -> None:
    lab.chip("kept")
    policy = json.dumps({"probe_every_s": 600})
    made = printed(tandemcal("chips", "policy", "kept", "--set", "-", "--json", input=policy))
    assert made["probe_every_s"] == 600
    assert "600" in tandemcal("chips", "policy", "kept").stdout
    wrong = tandemcal("chips", "policy", "kept", "--set", "-", input='{"probe_evry_s": 600}')
    assert (wrong.exit_code, "probe_evry_s" in wrong.stderr) == (2, True)
    assert tandemcal("chips", "policy", "kept", "--drop").exit_code == 0
    assert tandemcal("chips", "policy", "kept").exit_code == 3


def test_the_doctor_finds_nothing_wrong(tandemcal: Command) -> None:
    done = tandemcal("doctor", "--json")
    outcomes = {one["check"]: one["outcome"] for one in printed(done)}
    checked = ("address", "clock", "version", "readiness", "key", "agents", "queue")
    installed = ("disk", "database", "migrations", "workers", "artifacts")
    assert outcomes == dict.fromkeys((*checked, *installed), "ok")


def test_the_doctor_names_a_wrong_key_and_a_lost_block(lab: Lab, tandemcal: Command) -> None:
    [block, *_] = [path for path in lab.settings.artifacts_dir.rglob("*") if path.is_file()]
    away = block.rename(lab.settings.data_dir / "away")
    try:
        done = tandemcal("doctor", "--json", "--key", "wrong")
    finally:
        away.rename(block)
    assert done.exit_code == 1
    failed = {one["check"]: one for one in json.loads(done.stdout) if one["outcome"] == "failed"}
    assert set(failed) == {"key", "artifacts"}
    assert all(one["advice"] for one in failed.values())


def test_the_doctor_says_that_nothing_answers(tandemcal: Command) -> None:
    done = tandemcal("doctor", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 4
    assert re.search(r"failed +address +http://127.0.0.1:1 does not answer", done.stdout)


def test_a_lab_brings_a_module_and_waits_for_its_jobs(lab: Lab, service: Service) -> None:
    key = lab.settings.key_file.read_text().strip()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    lab.chip("named")
    with Tandemcal(str(service.http.base_url), key) as client:
        teacher = client.teachers.upload("from a module", model.eval(), input_shape=(6,))
        assert client.teachers.get("from a module") == teacher
        job = client.jobs.evaluate("named", "teacher").wait(60)
        assert (job.status, job.refresh()) == ("succeeded", job)
        assert "succeeded" in job.log()
        again = job.retry()
        assert again.wait(60, progress=True).status == "succeeded"
        assert [event.type for event in again.events()][-1] == "job.ended"
        with pytest.raises(TypeError, match="input_shape"):
            client.teachers.upload("no shape", model)


def test_jobs_are_awaited_together(lab: Lab, service: Service) -> None:
    chips = [lab.chip(name) for name in ("first", "second")]
    key = lab.settings.key_file.read_text().strip()

    async def evaluate_all() -> list[AsyncJob]:
        async with AsyncTandemcal(str(service.http.base_url), key) as client:
            assert "first" in [chip.name async for chip in client.chips.list()]
            jobs = [await client.jobs.evaluate(chip, "teacher") for chip in chips]
            ended = await asyncio.gather(*(job.wait(60) for job in jobs))
            assert "succeeded" in await ended[0].log()
            with pytest.raises(TandemcalError, match="No chip"):
                await client.chips.get("nobody")
            return ended

    assert [job.status for job in asyncio.run(evaluate_all())] == ["succeeded", "succeeded"]


def test_a_wait_that_is_cancelled_ends_with_its_client(
    lab: Lab, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.client.jobs.LONG_POLL", 0.5)  # s, for a test that is over sooner
    chip, key = lab.chip("later"), lab.settings.key_file.read_text().strip()
    later = Queueing(not_before=datetime.now(UTC) + timedelta(days=1))

    async def give_up() -> None:
        async with AsyncTandemcal(str(service.http.base_url), key) as client:
            job = await client.jobs.evaluate(chip, "teacher", queueing=later)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(job.wait(), 0.3)
            assert waiting()

    asyncio.run(give_up())
    until(lambda: not waiting(), "its thread has ended")


def waiting() -> list[threading.Thread]:
    """Return the threads of the client for asyncio."""
    return [one for one in threading.enumerate() if one.name.startswith("tandemcal")]
