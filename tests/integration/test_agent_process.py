"""Real agents beside a real service: registered, killed, and back again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from service.bench.driver.http_chip import open_http_chip
from service.db.agent_tables import Agent
from service.tls import client_context
from tests.agents import CIPHER
from tests.integration.agent_lab import AgentProcess
from tests.integration.jobs_lab import PATIENCE, Lab, Service, until
from tests.integration.lab_seed import now
from tests.integration.tls_files import TlsFiles, make_tls_files
from tests.warm.client import WarmServer

QUICK = {"TANDEMCAL_AGENT_HEARTBEAT_S": "0.2", "TANDEMCAL_AGENT_SILENCE_S": "1.5"}
CODES = torch.arange(24).view(4, 6) - 12


@contextmanager
def agent(
    warm: WarmServer, folder: Path, *arguments: str, **environment: str
) -> Iterator[AgentProcess]:
    started = AgentProcess(warm, folder, "bench-1", *arguments, **environment)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()


def small() -> Placement:
    layers = (
        Linear(name="hidden", in_features=6, out_features=4),
        Linear(name="readout", in_features=4, out_features=3),
    )
    settings = LayerSettings(60.0, 0.9, 20.0, 240.0)
    network = NetworkSpec(input_shape=(6,), layers=layers)
    return Placement(network, {"hidden": settings, "readout": settings}, 1.0)


def test_a_killed_agent_comes_back_with_its_chip(warm: WarmServer, tmp_path: Path) -> None:
    still = {"TANDEMCAL_AGENT_AGING": "0"}
    with agent(warm, tmp_path, "--chip", "pcm", "--seed", "3", **still) as bench:
        chip = open_http_chip("bench-1", bench.address(), 5)
        chip.place(small())
        chip.program("hidden", CODES)
        stimulus = Stimulus(torch.ones(4, 6), 12)
        before = chip.run(stimulus, {"hidden": Observable.COUNTS}).chip_time
        bench.kill()
        back = threading.Timer(1.0, bench.start_again)
        back.start()
        assert chip.now() == before  # it is asked for until it is back
        back.join()
        assert chip.program("hidden", CODES).cells == 0
        chip.close()
        assert bench.stop() in (0, -15)
        assert bench.address().secret not in bench.log()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def service(lab: Lab, files: TlsFiles) -> Iterator[Service]:
    """It has a certificate, and calls only agents that have one."""
    tls = {
        "TANDEMCAL_TLS_CERTIFICATE": str(files.certificate),
        "TANDEMCAL_TLS_KEY": str(files.key),
        "TANDEMCAL_AGENT_CA": str(files.authority),
    }
    running = Service(lab, "up", client_context(files.authority), **QUICK, **tls)
    yield running
    running.stop()


def of_agent(service: Service, name: str) -> Any:
    """The chip of this name; None as long as there is none."""
    found = service.http.get("/v1/chips", params={"name": name}).json()["items"]
    return found[0] if found else None


def test_jobs_run_on_a_chip_behind_an_agent_whatever_happens_to_it(
    lab: Lab, service: Service, files: TlsFiles, tmp_path: Path
) -> None:
    """Service and agent speak TLS alone."""
    tls = ("--tls-certificate", str(files.certificate), "--tls-key", str(files.key))
    trust = ("--service-ca", str(files.authority), "--join-key-file", str(tmp_path / "key"))
    joined = ("--service", str(service.http.base_url), *trust, *tls)
    patient = {"TANDEMCAL_AGENT_REACH_S": str(PATIENCE)}
    with agent(lab.warm, tmp_path, "--chip", "ideal", *joined, **patient) as bench:
        chip = until(lambda: of_agent(service, "bench-1"), "the agent has registered")
        address = service.http.get(f"/v1/chips/{chip['id']}/agent").json()["url"]
        assert address.startswith("https://")
        a_job_follows_its_agent(lab, service, bench, chip["id"])
        a_job_waits_while_there_is_no_agent(lab, service, bench, chip["id"])
        a_job_that_began_waits_too(lab, service, bench, chip["id"])
        assert of_agent(service, "bench-1")["id"] == chip["id"]
        assert len(service.http.get(f"/v1/chips/{chip['id']}/history").json()["items"]) == 3


def a_job_follows_its_agent(lab: Lab, service: Service, bench: AgentProcess, chip_id: str) -> None:
    job = service.calibrate(chip_id, samples=3200)
    until(lambda: lab.job(job).progress, "the calibration is under way")
    bench.kill()
    bench.move()
    bench.start_again()
    assert lab.ended(job).status == "succeeded", lab.job(job).reason
    assert lab.job(job).attempt == 1  # it went on at the other port


def a_job_waits_while_there_is_no_agent(
    lab: Lab, service: Service, bench: AgentProcess, chip_id: str
) -> None:
    bench.kill()
    until(lambda: of_agent(service, "bench-1")["state"] == "offline", "the chip is offline")
    job = service.evaluate(chip_id)
    assert lab.job(job).status == "waiting_for_chip"
    bench.environment["TANDEMCAL_AGENT_REACH_S"] = "4"
    bench.start_again()
    assert lab.ended(job).status == "succeeded", lab.job(job).reason
    until(lambda: reach(lab) == 4.0, "the agent has registered anew")


def a_job_that_began_waits_too(
    lab: Lab, service: Service, bench: AgentProcess, chip_id: str
) -> None:
    bench.stop()
    alive_for(lab, PATIENCE)  # nobody has noticed yet
    job = service.evaluate(chip_id)
    until(lambda: lab.job(job).attempt == 1, "the job has begun")
    alive_for(lab, -1.0)
    until(lambda: lab.job(job).status == "waiting_for_chip", "the job waits")
    assert "its chip is offline: its agent at" in str(lab.job(job).reason)
    bench.start_again()
    assert lab.ended(job).status == "succeeded", lab.job(job).reason


def test_a_job_waits_until_an_agent_whose_secret_is_lost_has_registered_again(
    lab: Lab, service: Service, files: TlsFiles, tmp_path: Path
) -> None:
    tls = ("--tls-certificate", str(files.certificate), "--tls-key", str(files.key))
    trust = ("--service-ca", str(files.authority), "--join-key-file", str(tmp_path / "key"))
    joined = ("--service", str(service.http.base_url), *trust, *tls)
    with agent(lab.warm, tmp_path, "--chip", "ideal", *joined) as bench:
        chip = until(lambda: of_agent(service, "bench-1"), "the agent has registered")
        bench.stop()
        with lab.database.writing() as session:
            session.execute(update(Agent).values(encrypted_secret=CIPHER.encrypt("s" * 43)))
        alive_for(lab, PATIENCE)
        job = service.evaluate(chip["id"])
        until(lambda: "cannot be decrypted" in str(lab.job(job).reason), "the job waits")
        assert lab.job(job).status == "waiting_for_chip"
        bench.start_again()
        assert lab.ended(job).status == "succeeded", lab.job(job).reason


def reach(lab: Lab) -> float:
    """How long a job is to look for the agent, as the agent asked."""
    with lab.database.reading() as session:
        return float(session.scalars(select(Agent.limits)).one()["reach_s"])


def alive_for(lab: Lab, seconds: float) -> None:
    """Let the agent count as alive for so long from now."""
    with lab.database.writing() as session:
        session.execute(update(Agent).values(alive_until=now() + timedelta(seconds=seconds)))
