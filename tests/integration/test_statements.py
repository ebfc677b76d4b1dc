"""How many statements the most frequent requests send to the database."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from service.api.batches import WorkAlone
from service.api.context import utc_now
from service.api.idempotency import Once
from service.api.submissions import MakeSubmitter, Submitted, Submitting, submit_together
from service.db.access_tables import ApiKey
from service.db.repositories.agents import AgentRepository
from service.db.repositories.audit import Actor
from service.db.repositories.chips import ChipRepository
from service.db.repositories.heartbeats import HeardAgent, Heartbeat, HeartbeatRepository
from service.errors import (
    AgentNotFoundError,
    ChipRetiredError,
    ForeignAgentError,
    StudentNotFoundError,
)
from service.jobs.kinds.evaluate import EvaluateRequest
from service.jobs.submit import Submitter
from service.request_errors import IdempotencyMismatchError
from tests.integration.registered_agents import register
from tests.statements import statements
from tests.world import World

pytestmark = pytest.mark.both_databases
MINUTE = timedelta(minutes=1)


def test_heartbeats_that_come_together_send_two_statements(world: World) -> None:
    for number in range(5):
        answer = register(world, agent_id=f"agent-{number}", name=f"bench {number}")
        assert answer.status_code == 200
    database, cipher = world.context.database, world.context.cipher
    with database.reading() as session:
        key_id = str(AgentRepository(session).get("agent-0").key_id)
    beats = [Heartbeat(f"agent-{number}", key_id) for number in range(5)]
    now = utc_now() + timedelta(seconds=5)
    with database.writing() as session, statements(database) as sent:
        wrong = [Heartbeat("agent-1", "another"), Heartbeat("nobody", key_id)]
        found = HeartbeatRepository(session, cipher).note([*beats, *wrong], now, now + MINUTE)
    assert len(sent) == 2
    assert [type(one) for one in found[5:]] == [ForeignAgentError, AgentNotFoundError]
    with database.reading() as session:
        for beat, heard in zip(beats, found[:5], strict=True):
            agent = AgentRepository(session).get(beat.agent_id)
            assert isinstance(heard, HeardAgent)
            assert (
                (heard.id, heard.alive_until)
                == (agent.id, agent.alive_until)
                == (
                    beat.agent_id,
                    now + MINUTE,
                )
            )
    with database.writing() as session, statements(database) as alone:  # the control: one by one
        for beat in beats:
            HeartbeatRepository(session, cipher).note([beat], now, now + MINUTE)
    assert len(alone) == 10


def submissions(world: World, count: int) -> list[Submitting]:
    """Requests for jobs on chips of their own, by one key."""
    student = world.trained_student()
    chips = [world.register_chip(f"bench {number}", seed=number)["id"] for number in range(count)]
    with world.context.database.reading() as session:
        key_id = session.scalars(select(ApiKey.id)).first()
    return [
        Submitting(
            EvaluateRequest(kind="evaluate", chip_id=chip, student_id=student),
            Once(str(uuid4()), str(key_id)),
            Actor(str(key_id), "10.0.0.1"),
        )
        for chip in chips
    ]


def make_submitter(world: World) -> MakeSubmitter:
    return lambda session, now: Submitter(session, world.context.engine, now)


def test_submissions_that_come_together_share_their_statements(world: World) -> None:
    asked = submissions(world, 6)
    database = world.context.database
    before = world.stored()
    with statements(database) as together:
        found = submit_together(database, make_submitter(world), asked)
    jobs = [one.view.id for one in found if isinstance(one, Submitted) and not one.earlier]
    assert len(set(jobs)) == 6
    stored = world.stored()
    for table in ("jobs", "events", "audit_events", "idempotency_keys", "enqueued"):
        assert stored[table] == before[table] + 6, table
    again = submit_together(database, make_submitter(world), asked)  # all of them are repeated
    assert [one.view.id for one in again if isinstance(one, Submitted) and one.earlier] == jobs
    assert world.stored() == stored
    renewed = [one._replace(once=Once(str(uuid4()), one.once.owner)) for one in asked]
    with statements(database) as alone:  # the control: one by one
        for one in renewed:
            submit_together(database, make_submitter(world), [one])
    assert len(together) <= 16
    assert len(alone) > 5 * len(together)


def test_a_submission_that_is_refused_takes_no_other_along(world: World) -> None:
    asked = submissions(world, 4)
    good, unknown, twice, retired = asked
    refused = [
        good,
        unknown._replace(body=unknown.body.model_copy(update={"student_id": "nobody"})),
        twice,
        twice,  # under the same key, at the same time
        retired,
    ]
    chip_id = getattr(retired.body, "chip_id", "")
    assert world.client.delete(f"/v1/chips/{chip_id}").status_code == 200
    database = world.context.database
    before = world.stored()["jobs"]
    found = submit_together(database, make_submitter(world), refused)
    kinds = [Submitted, StudentNotFoundError, Submitted, WorkAlone, ChipRetiredError]
    assert [type(one) for one in found] == kinds
    assert world.stored()["jobs"] == before + 2
    (second,) = submit_together(database, make_submitter(world), [twice])
    assert isinstance(second, Submitted)
    assert second.earlier
    other_body = twice._replace(body=twice.body.model_copy(update={"priority": 1}))
    (wrong,) = submit_together(database, make_submitter(world), [other_body])
    assert isinstance(wrong, IdempotencyMismatchError)


def test_a_chip_that_another_unit_changes_holds_up_its_own_job_alone(world: World) -> None:
    asked = submissions(world, 3)
    database = world.context.database
    if database.is_sqlite:
        return  # where one unit writes at a time
    with database.writing() as session:
        ChipRepository(session).lock(getattr(asked[1].body, "chip_id", ""))
        found = submit_together(database, make_submitter(world), asked)
    assert [type(one) for one in found] == [Submitted, WorkAlone, Submitted]
