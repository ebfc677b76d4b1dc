"""Jobs of chips behind agents: refused, waiting or started with the address of the agent."""

import pytest

from service.api.context import utc_now
from service.db.repositories.agents import AgentRepository
from service.db.repositories.dispatches import DispatchRepository
from service.db.repositories.heartbeats import Heartbeat, HeartbeatRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.jobs.attempts.attempt import Attempt, DispatchTicket, Holder, Refusal, begin_attempt
from service.jobs.attempts.describe import Describer
from service.jobs.messages import ExecutorConfig
from service.networks import PRIVATE
from tests.integration.registered_agents import MINUTE, SECRET, fall_silent, registered, submit
from tests.world import World

pytestmark = pytest.mark.both_databases


HOLDER = Holder("worker", MINUTE)


def test_a_job_that_cannot_wait_is_refused_while_its_chip_is_offline(world: World) -> None:
    chip_id = registered(world)
    fall_silent(world)
    jobs = world.stored()["jobs"]
    answer = submit(world, chip_id, if_unavailable="reject")
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/chip-unavailable"
    assert "http://10.1.2.3:8770 was last heard of" in answer.json()["detail"]
    world.client.post("/v1/agents/agent-1/heartbeat")
    assert submit(world, chip_id, if_unavailable="reject").status_code == 202
    assert world.stored()["jobs"] > jobs


def test_a_job_waits_for_its_chip_and_starts_when_the_agent_is_back(world: World) -> None:
    chip_id = registered(world)
    fall_silent(world)
    job = submit(world, chip_id).json()
    assert job["status"] == "waiting_for_chip"
    assert "its chip is offline: its agent at http://10.1.2.3:8770" in job["reason"]
    database = world.context.database
    with database.writing() as session:
        assert not DispatchRepository(session, MINUTE).any_waiting(utc_now())
    world.client.post("/v1/agents/agent-1/heartbeat")
    with database.writing() as session:
        (dispatch,) = DispatchRepository(session, MINUTE).dispatch_next(utc_now())
        assert dispatch.job_id == job["id"]
    fall_silent(world)  # between the call and the start
    with database.writing() as session:
        assert (
            begin_attempt(session, DispatchTicket(*dispatch[:2]), HOLDER, utc_now())
            is Refusal.LATER
        )
    later = utc_now() + 2 * MINUTE
    with database.writing() as session:
        key_id = str(AgentRepository(session).get("agent-1").key_id)
        beat = Heartbeat("agent-1", key_id)
        HeartbeatRepository(session, world.context.cipher).note([beat], later, later + MINUTE)
        (dispatch,) = DispatchRepository(session, MINUTE).dispatch_next(later)
        attempt = begin_attempt(session, DispatchTicket(*dispatch[:2]), HOLDER, later)
        assert isinstance(attempt, Attempt)
        assert JobRepository(session).get(job["id"]).reason is None


def test_the_reason_of_a_job_that_waits_is_true_now(world: World) -> None:
    chip_id = registered(world)
    fall_silent(world)
    job = submit(world, chip_id).json()["id"]

    def told() -> tuple[str | None, ...]:
        """By the route of one job, which keeps what has not changed, and by the list."""
        (listed,) = world.client.get("/v1/jobs?kind=evaluate").json()["items"]
        return world.client.get(f"/v1/jobs/{job}").json()["reason"], listed["reason"]

    assert [str(reason)[:20] for reason in told()] == ["its chip is offline:"] * 2
    world.client.post("/v1/agents/agent-1/heartbeat")
    assert told() == (None, None)
    with world.context.database.reading() as session:  # the control: what is stored
        assert "offline" in str(JobRepository(session).get(job).reason)
    fall_silent(world)
    assert [str(reason)[:20] for reason in told()] == ["its chip is offline:"] * 2


def test_tokens_begin_above_what_the_agent_has_seen(world: World) -> None:
    chip_id = registered(world, token=41)
    with world.context.database.writing() as session:
        leases = LeaseRepository(session)
        assert leases.take(chip_id, "worker", "job", MINUTE, utc_now()) == 42
    registered(world, token=7)
    with world.context.database.reading() as session:
        lease = LeaseRepository(session).get(chip_id)
        assert lease is not None
        assert lease.token == 42


def test_a_job_gets_the_address_of_the_agent(world: World) -> None:
    chip_id = registered(world, limits={"answer_s": 12.0})
    job = submit(world, chip_id).json()
    world.drive(job["id"])
    with world.context.database.reading() as session:
        config = ExecutorConfig(artifacts_dir="x", threads=1)
        describer = Describer(session, config, 1.0, world.context.cipher)
        described = describer.describe(JobRepository(session).get(job["id"]), utc_now()).chip
    assert described is not None
    assert described.settings == {
        "networks": PRIVATE,
        "ca": None,
        "url": "http://10.1.2.3:8770",
        "secret": SECRET,
        "signed": False,
        "answer_s": 12.0,
        "reach_s": 30.0,
    }
    assert SECRET not in repr(described)
