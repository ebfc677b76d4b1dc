"""How many statements the most frequent requests send to the database."""

from datetime import timedelta

import pytest

from service.api.context import utc_now
from service.db.repositories.agents import AgentRepository
from service.db.repositories.heartbeats import HeardAgent, Heartbeat, HeartbeatRepository
from service.errors import AgentNotFoundError, ForeignAgentError
from tests.integration.test_agents_api import register
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
        found = HeartbeatRepository(session, cipher).record([*beats, *wrong], now, now + MINUTE)
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
            HeartbeatRepository(session, cipher).record([beat], now, now + MINUTE)
    assert len(alone) == 10
