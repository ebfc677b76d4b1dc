"""Chip agents: who registered for which chip, and which of them have fallen silent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from service.db.agent_tables import Agent
from service.db.base import Json
from service.db.repositories.chips import ChipRepository
from service.db.repositories.events import EventRepository
from service.db.tables import Chip, ChipLease
from service.errors import AgentNotFoundError, ChipRetiredError, ConflictError
from service.states import ChipHealth

BACKEND = "http"


class Registration(NamedTuple):
    """What an agent says of itself and of its chip."""

    agent_id: str
    name: str  # of the chip
    url: str
    secret: str
    version: str
    limits: Json
    info: Json  # ChipInfo
    token: int  # the highest lease token that the agent has seen


class AgentRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, agent_id: str) -> Agent:
        """Raises AgentNotFoundError."""
        agent = self._session.get(Agent, agent_id, populate_existing=True)
        if agent is None:
            raise AgentNotFoundError(agent_id)
        return agent

    def of_chip(self, chip_id: str) -> Agent | None:
        return self._session.scalar(select(Agent).where(Agent.chip_id == chip_id))

    def register(self, said: Registration, now: datetime, alive_until: datetime) -> Agent:
        """Remember the agent; its chip is the one it had before, else the one of that name.

        A chip that nobody knows is made. Raises ChipRetiredError, and ConflictError where the name
        belongs to another chip or to another agent that is alive.
        """
        known = self._session.get(Agent, said.agent_id)
        chip = self._chip_of(known, said, now)
        if chip.retired_at is not None:
            raise ChipRetiredError(chip.id)
        chip.info = said.info | {"chip_id": chip.id}
        self._raise_token(chip.id, said.token)
        agent = known or Agent(id=said.agent_id, chip_id=chip.id, registered_at=now)
        agent.url, agent.secret, agent.version = said.url, said.secret, said.version
        agent.limits = said.limits
        self._session.add(agent)
        self._heard(agent, now, alive_until)
        told = {"agent_id": agent.id, "url": agent.url, "version": agent.version}
        self._tell(chip.id, "agent.registered", now, told)
        return agent

    def beat(self, agent_id: str, now: datetime, alive_until: datetime) -> Agent:
        """It lives. Raises AgentNotFoundError."""
        agent = self.get(agent_id)
        self._heard(agent, now, alive_until)
        return agent

    def keep_call_times(self, chip_id: str, found: Mapping[str, tuple[int, float]]) -> None:
        """Calls and their seconds by verb, of whoever drives the chip, so far."""
        told = {verb: [calls, round(seconds, 6)] for verb, (calls, seconds) in found.items()}
        self._session.execute(update(Agent).where(Agent.chip_id == chip_id).values(call_times=told))

    def offline(self, chip_ids: Sequence[str], now: datetime) -> set[str]:
        """Those of these chips whose agent is silent."""
        query = silent_chips(now).where(Chip.id.in_(chip_ids))
        return set(self._session.scalars(query))

    def why_silent(self, chip_id: str, now: datetime) -> str | None:
        """For whoever waits for the chip; None where it can be driven."""
        if not self.offline([chip_id], now):
            return None
        agent = self.of_chip(chip_id)
        if agent is None:
            return "no agent stands in front of it"
        heard = f"{agent.heartbeat_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"its agent at {agent.url} was last heard of at {heard}"

    def _chip_of(self, known: Agent | None, said: Registration, now: datetime) -> Chip:
        chips = ChipRepository(self._session)
        if known is not None:
            return chips.get(known.chip_id)
        chip = self._session.scalar(select(Chip).where(Chip.name == said.name))
        if chip is None:
            return self._new_chip(chips, said, now)
        if chip.backend != BACKEND:
            raise ConflictError(
                f"The chip named '{said.name}' is driven as '{chip.backend}', not by an agent; "
                "give this agent's chip another name."
            )
        self._replace_agent(chip, now)
        return chip

    def _replace_agent(self, chip: Chip, now: datetime) -> None:
        """Another agent takes over where the one before has fallen silent."""
        before = self.of_chip(chip.id)
        if before is None:
            return
        if before.alive_until >= now:
            raise ConflictError(
                f"The chip named '{chip.name}' has a living agent at {before.url}; "
                "stop that one first, or give this agent's chip another name."
            )
        self._session.delete(before)
        self._session.flush()

    def _new_chip(self, chips: ChipRepository, said: Registration, now: datetime) -> Chip:
        chip = Chip(
            id=str(uuid7()),
            name=said.name,
            backend=BACKEND,
            settings={},
            info={},
            health=ChipHealth.UNKNOWN,
            created_at=now,
        )
        chips.add(chip)
        return chip

    def _raise_token(self, chip_id: str, token: int) -> None:
        """The agent refuses everything older than what it has seen, so begin above that."""
        self._session.execute(
            update(ChipLease)
            .where(ChipLease.chip_id == chip_id, ChipLease.token < token)
            .values(token=token)
        )

    def _heard(self, agent: Agent, now: datetime, alive_until: datetime) -> None:
        silent_since = agent.heartbeat_at if agent.alive_until and agent.alive_until < now else None
        agent.heartbeat_at, agent.alive_until = now, alive_until
        self._session.flush()
        if silent_since is not None:
            told = {"silent_s": round((now - silent_since).total_seconds(), 1)}
            self._tell(agent.chip_id, "chip.online", now, told)

    def _tell(self, chip_id: str, type: str, now: datetime, data: dict[str, Any]) -> None:
        EventRepository(self._session).append(
            chip_id, type, now.isoformat(), data, now=now, chip_id=chip_id
        )


def reachable(now: datetime) -> ColumnElement[bool]:
    """Of a chip joined with its agent: none stands in front of it, or one that is alive."""
    alive = and_(Agent.id.is_not(None), Agent.alive_until >= now)
    return or_(Chip.backend != BACKEND, alive)


def silent_chips(now: datetime) -> Select[Any]:
    """Chips behind an agent that cannot be driven now."""
    with_agents = select(Chip.id).outerjoin(Agent, Agent.chip_id == Chip.id)
    silent = or_(Agent.id.is_(None), Agent.alive_until < now)
    return with_agents.where(Chip.backend == BACKEND, silent)
