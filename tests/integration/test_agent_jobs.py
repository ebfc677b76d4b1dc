"""Whole jobs on a chip behind an agent: alike to the bit, or failed with a reason."""

import asyncio
from datetime import timedelta
from pathlib import Path

import torch
from fastapi import Response

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.artifacts import ArtifactStore
from service.bench.driver.rpc_client import AgentAddress
from service.db.repositories.agents import AgentRepository, Registration
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.metrics import MetricsRepository
from service.db.tables import Job
from service.jobs.attempts.describe import Describer
from service.jobs.attempts.recorder import Recorder
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.main import do_job
from service.jobs.messages import Ended, ExecutorConfig, JobDescription, Progressed
from service.states import JobStatus
from tests.agents import ANYBODY, CIPHER, serve_agent, serving
from tests.hostile.hostile_agent import pretending, refusal, saying
from tests.integration.jobs_lab import Lab
from tests.integration.lab_seed import new_id, now
from tests.proxies import Proxy, with_tensor

HOUR = timedelta(hours=1)


class RecordingLink(NoLink):
    """A link to the parent that keeps each progress message."""

    def __init__(self) -> None:
        self.messages: list[Progressed] = []

    def send(self, message: object) -> None:
        if isinstance(message, Progressed):
            self.messages.append(message)


async def late(response: Response) -> Response:
    await asyncio.sleep(0.05)
    return response


def described(lab: Lab, address: AgentAddress) -> JobDescription:
    """An evaluation of the lab's student on the chip behind this agent, ready to be done."""
    info = info_to_json(info_of(preset("pcm"), "bench-1"))
    limits = {"answer_s": address.answer_s, "reach_s": address.reach_s}
    said = Registration("a", "bench-1", address.url, address.secret, "1", limits, info, 0)
    with lab.database.writing() as session:
        agent = AgentRepository(session).register(said, ANYBODY, now(), now() + HOUR, CIPHER)
        chip_id = agent.chip_id
        job = Job(
            id=new_id(),
            kind="evaluate",
            status=JobStatus.QUEUED,
            request={"settings": {}},
            teacher_id=lab.seeded.teacher_id,
            target_set_id=lab.seeded.target_set_id,
            student_id=lab.seeded.student_id,
            chip_id=chip_id,
            priority=5,
            attempt=0,
            created_at=now(),
            code_version="test",
        )
        JobRepository(session).add(job)
        token = LeaseRepository(session).take(chip_id, "worker", job.id, HOUR, now())
        assert token is not None
        started = JobRepository(session).start(job.id, token, "worker", now())
        config = ExecutorConfig(artifacts_dir=str(lab.settings.artifacts_dir), threads=1)
        return Describer(session, config, 0.0, CIPHER).describe(started, now())


def done(lab: Lab, description: JobDescription) -> Ended:
    store = ArtifactStore(lab.settings.artifacts_dir)
    return do_job(JobContext(store, NoLink(), description))


def test_a_job_over_http_ends_as_it_does_in_process(lab: Lab, tmp_path: Path) -> None:
    with serve_agent(tmp_path, make_chip("bench-1", preset("pcm"), 7)) as agent:
        description = described(lab, agent.address)
        over_http = done(lab, description)
    assert description.chip is not None
    beside = description.chip.model_copy(
        update={"backend": "simulated", "settings": {"preset": "pcm", "seed": 7}}
    )
    in_process = done(lab, description.model_copy(update={"chip": beside}))
    assert over_http.status == in_process.status == JobStatus.SUCCEEDED, over_http.reason
    assert over_http.result == in_process.result
    assert over_http.chip_state_sha256 is None  # the agent keeps its chip


def test_call_times_of_an_agent_come_with_the_progress(lab: Lab, tmp_path: Path) -> None:
    store, link = ArtifactStore(lab.settings.artifacts_dir), RecordingLink()
    with serve_agent(tmp_path) as agent:
        proxy = Proxy(agent)
        proxy.tamper("run", late)
        with serving(proxy.app) as url:
            description = described(lab, agent.address.model_copy(update={"url": url}))
            do_job(JobContext(store, link, description))
    assert description.chip is not None
    last = link.messages[-1]
    assert sum(calls for calls, _ in last.call_times.values()) == proxy.calls - 1  # and `now`
    with lab.database.writing() as session:
        job = JobRepository(session).get(description.job_id)
        Recorder(session, job, description.chip.token, now()).progress(last)
    with lab.database.reading() as session:
        found = MetricsRepository(session).call_times()
    assert found["bench-1", "run"] >= 0.05
    assert {"info", "place", "write"} <= {verb for _, verb in found}


def test_a_job_fails_with_the_reason_where_its_agent_answers_wrongly(
    lab: Lab, tmp_path: Path
) -> None:
    with serve_agent(tmp_path) as agent:
        proxy = Proxy(agent)
        proxy.tamper("run", with_tensor("membrane/readout", lambda sums: sums * torch.nan))
        with serving(proxy.app) as url:
            ended = done(lab, described(lab, agent.address.model_copy(update={"url": url})))
    assert (ended.status, ended.error) == (JobStatus.FAILED, "ChipUnavailableError")
    assert ended.reason is not None
    assert "impossible answer to 'run'" in ended.reason
    assert "'membrane/readout' holds NaN or infinite values" in ended.reason


def test_a_job_quotes_no_server_that_pretends_to_be_its_agent(lab: Lab) -> None:
    marker = "TOP-SECRET"
    refused = refusal("503 x", "ChipUnavailableError", marker, reason=marker)
    with pretending(saying(refused)) as url:
        ended = done(lab, described(lab, AgentAddress(url=url, secret="s" * 43)))
    assert ended.status == JobStatus.FAILED
    assert "status 503 comes without a reason" in str(ended.reason)
    assert marker not in ended.model_dump_json()


def test_a_job_fails_with_the_reason_where_its_agent_is_gone(lab: Lab, tmp_path: Path) -> None:
    with serve_agent(tmp_path, reach_s=0.2) as agent:
        description = described(lab, agent.address)
    ended = done(lab, description)
    assert ended.status == JobStatus.FAILED
    assert f"its agent cannot be reached at {agent.address.url}" in str(ended.reason)
    assert agent.address.secret not in str(ended)
