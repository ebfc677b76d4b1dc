"""Metrics follow the events, and nothing is counted twice."""

import urllib.request
from itertools import product
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip_info import info_to_json
from service.api.context import utc_now
from service.app import create_app
from service.db.repositories.agents import AgentRepository, Registration
from service.db.repositories.jobs import JobRepository
from service.db.session import clock
from service.db.tables import Chip
from service.jobs.kinds.registry import KINDS
from service.settings import Settings
from service.states import TERMINAL, JobStatus
from tests.agents import ANYBODY, CIPHER
from tests.ports import free_ports
from tests.recording import RecordingEngine
from tests.world import World


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(world: World) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = world.client.get("/metrics", headers={"Authorization": ""})
    assert answer.status_code == 200
    return parsed(answer.text)


def named(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def run_to_end(world: World, job: Any, result: dict[str, Any]) -> None:
    token = world.drive(job["id"]) if job["chip_id"] else _begin(world, job["id"])
    with world.context.database.writing() as session:
        jobs = JobRepository(session)
        jobs.end(job["id"], token, JobStatus.SUCCEEDED, None, result, utc_now())


def _begin(world: World, job_id: str) -> int:
    with world.context.database.writing() as session:
        JobRepository(session).start(job_id, 1, "worker", utc_now())
    return 1


def test_jobs_are_counted_while_they_wait_and_once_when_they_end(world: World) -> None:
    scrape(world)  # counters begin with what stands there
    targets = world.ready_targets()
    job = world.submit({"kind": "train", "target_set_id": targets})
    waiting = scrape(world)
    assert waiting[named("tandemcal_database_up")] == 1
    assert waiting[named("tandemcal_jobs_open", kind="train", status="queued")] == 1
    assert waiting[named("tandemcal_queue_oldest_seconds", kind="train")] >= 0
    run_to_end(world, job, {"accuracy": {}})
    ended = named("tandemcal_jobs_ended_total", kind="train", status="succeeded")
    for _ in range(2):
        found = scrape(world)
        assert named("tandemcal_jobs_open", kind="train", status="queued") not in found
        assert found[ended] == 1
        assert found[named("tandemcal_job_wait_seconds_count", kind="train")] == 1


def test_counters_start_at_zero_for_every_known_label(world: World) -> None:
    """So that the first job is a rise: a counter that appears with 1 has never risen."""
    found = scrape(world)
    for kind, status in product(KINDS, TERMINAL):
        assert found[named("tandemcal_jobs_ended_total", kind=kind, status=status)] == 0
    for kind in KINDS:
        assert found[named("tandemcal_job_wait_seconds_count", kind=kind)] == 0
        assert found[named("tandemcal_job_seconds_count", kind=kind)] == 0
    assert named("tandemcal_job_seconds_count", kind="unheard of") not in found


def test_what_ended_before_the_process_began_is_counted(settings: Settings, world: World) -> None:
    run_to_end(world, world.submit({"kind": "train", "target_set_id": world.ready_targets()}), {})
    with TestClient(create_app(settings, RecordingEngine())) as client:
        found = parsed(client.get("/metrics").text)
    assert found[named("tandemcal_jobs_ended_total", kind="train", status="succeeded")] == 1


def test_calibrations_report_what_they_recovered(world: World) -> None:
    scrape(world)
    chip, student = world.register_chip()["id"], world.trained_student()
    scrape(world)
    run_to_end(world, world.calibrate(chip, student), {"recovered_fraction": 0.8})
    found = scrape(world)
    assert found[named("tandemcal_recovered_fraction_sum")] == pytest.approx(0.8)
    assert found[named("tandemcal_chips", health="unknown")] == 1


def test_a_drift_score_is_reported_once_there_is_one(world: World) -> None:
    chip = world.register_chip("bench 1")["id"]
    named_score = named("tandemcal_chip_drift_score", chip="bench 1")
    assert named_score not in scrape(world)
    with world.context.database.writing() as session:
        session.get_one(Chip, chip).drift_score = 0.25
    assert scrape(world)[named_score] == 0.25


def test_metrics_of_an_agent_carry_the_name_of_its_chip(world: World) -> None:
    info = make_chip("bench-1", preset("pcm"), 7).info
    with world.context.database.writing() as session:
        now = clock(session)
        registration = Registration(
            agent_id="one",
            name="bench 1",
            url="http://127.0.0.1:1",
            secret="s" * 32,
            version="1",
            limits={},
            info=info_to_json(info),
            token=0,
        )
        chip = AgentRepository(session).register(registration, ANYBODY, now, now, CIPHER).chip_id
    found = scrape(world)
    assert 0 <= found[named("tandemcal_agent_silence_seconds", agent="bench 1")] < 600
    assert not [name for name, _ in found if name == "tandemcal_agent_call_seconds"]
    with world.context.database.writing() as session:
        AgentRepository(session).keep_call_times(chip, {"run": (4, 0.5), "now": (2, 0.003)})
    took = scrape(world)
    assert took[named("tandemcal_agent_call_seconds", agent="bench 1", verb="run")] == 0.125
    assert took[named("tandemcal_agent_call_seconds", agent="bench 1", verb="now")] == 0.0015


def test_metrics_can_have_a_port_of_their_own(settings: Settings) -> None:
    unused_port = next(free_ports())
    apart = settings.model_copy(update={"metrics_port": unused_port})
    with TestClient(create_app(apart, RecordingEngine())) as client:
        assert client.get("/metrics").status_code == 404
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics") as answer:
            assert parsed(answer.read().decode())[named("tandemcal_database_up")] == 1


def test_a_database_that_does_not_answer_is_reported(settings: Settings, world: World) -> None:
    assert scrape(world)[named("tandemcal_database_up")] == 1
    world.context.database.close()
    (settings.data_dir / "tandemcal.sqlite").unlink()
    assert scrape(world)[named("tandemcal_database_up")] == 0
