"""Heartbeats of agents: recorded together, however many come at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from service.db.agent_tables import Agent
from service.db.repositories.events import EventRepository, Subject
from service.errors import AgentNotFoundError, ForeignAgentError
from service.secret_cipher import SecretCipher


class Heartbeat(NamedTuple):
    """One heartbeat, and the API key that sent it."""

    agent_id: str
    key_id: str


class HeardAgent(NamedTuple):
    """An agent as it stands after its heartbeat, without its secret."""

    id: str
    chip_id: str
    url: str
    version: str
    key_id: str
    registered_at: datetime
    heartbeat_at: datetime
    alive_until: datetime


class HeartbeatRepository:
    """Records heartbeats."""

    def __init__(self, session: Session, cipher: SecretCipher) -> None:
        """`cipher` tells whether the secret of an agent can still be read."""
        self._session = session
        self._cipher = cipher

    def note(
        self, beats: Sequence[Heartbeat], now: datetime, alive_until: datetime
    ) -> list[HeardAgent | Exception]:
        """Return the agent of each heartbeat, or why it was not recorded.

        That is AgentNotFoundError, also for an agent of an earlier version, which belongs to no
        key: it registers again, and proves itself by its secret. So it is for one whose secret
        cannot be decrypted any more. Or ForeignAgentError, for an agent of another key.
        """
        before = self._locked({beat.agent_id for beat in beats})
        found = [self._heard(before.get(beat.agent_id), beat, now, alive_until) for beat in beats]
        heard = {agent.id for agent in found if isinstance(agent, HeardAgent)}
        if heard:
            times = {"heartbeat_at": now, "alive_until": alive_until}
            self._session.execute(update(Agent).where(Agent.id.in_(sorted(heard))).values(**times))
        for row in (before[agent_id] for agent_id in sorted(heard)):
            emit_online(self._session, row.chip_id, row.heartbeat_at, row.alive_until, now)
        return found

    def _locked(self, agent_ids: set[str]) -> dict[str, Row[Any]]:
        """Return the rows, locked in one order: two who do this at once never block each other."""
        shown = (getattr(Agent, name) for name in HeardAgent._fields)
        columns: list[Any] = [*shown, Agent.encrypted_secret]
        query = select(*columns).where(Agent.id.in_(sorted(agent_ids))).order_by(Agent.id)
        return {row.id: row for row in self._session.execute(query.with_for_update(key_share=True))}

    def _heard(
        self, row: Row[Any] | None, beat: Heartbeat, now: datetime, alive_until: datetime
    ) -> HeardAgent | Exception:
        if row is None or row.key_id is None:
            return AgentNotFoundError(beat.agent_id)
        if row.key_id != beat.key_id:
            return ForeignAgentError(beat.agent_id)
        if self._cipher.decrypt(row.encrypted_secret) is None:
            return AgentNotFoundError(beat.agent_id)
        agent = HeardAgent._make(row[: len(HeardAgent._fields)])
        return agent._replace(heartbeat_at=now, alive_until=alive_until)


def emit_online(
    session: Session, chip_id: str, heard_at: datetime, alive_until: datetime, now: datetime
) -> None:
    """Write an event if the agent, last heard of at `heard_at`, counted as silent until now."""
    if alive_until < now:
        payload = {"silent_s": round((now - heard_at).total_seconds(), 1)}
        EventRepository(session).append(
            Subject(chip_id=chip_id), "chip.online", now.isoformat(), payload, now
        )
