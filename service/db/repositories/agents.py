"""Chip agents: registrations, heartbeats, and which chips are offline."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Select, and_, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from service.db.agent_tables import Agent
from service.db.base import Json
from service.db.repositories.chips import ChipRepository
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.heartbeats import emit_online
from service.db.repositories.rows import load_row
from service.db.tables import Chip, ChipLease
from service.errors import (
    AgentNotFoundError,
    ChipRetiredError,
    ConflictError,
    ForeignAgentError,
)
from service.secret_cipher import SecretCipher
from service.states import ChipHealth

BACKEND = "http"
NO_AGENT = "no agent is registered for it"


class Registrant(NamedTuple):
    """Who registers an agent, and which credential the agent gets."""

    key_id: str
    is_admin: bool  # whether the key has the scope `admin`
    shown_sha256: str | None  # of the agent's own credential, if it was shown
    next_sha256: str  # of the credential that replaces it


class Registration(NamedTuple):
    """What an agent reports about itself and its chip."""

    agent_id: str
    name: str  # of the chip
    url: str
    secret: str  # in clear
    version: str
    limits: Json
    info: Json  # ChipInfo
    token: int  # the highest lease token that the agent has seen
    signed: bool = False  # whether the agent knows signed calls


class AgentRepository:
    """Stores agents, their heartbeats and the chips they serve."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, agent_id: str) -> Agent:
        """Return the agent. Raises AgentNotFoundError."""
        agent = load_row(self._session, Agent, agent_id, AgentNotFoundError.what)
        if agent is None:
            raise AgentNotFoundError(agent_id)
        return agent

    def of_chip(self, chip_id: str) -> Agent | None:
        """Return the agent of this chip, or None if it has none."""
        return self._session.scalar(select(Agent).where(Agent.chip_id == chip_id))

    def register(
        self,
        said: Registration,
        by: Registrant,
        now: datetime,
        alive_until: datetime,
        cipher: SecretCipher,
    ) -> Agent:
        """Store the agent with its chip: the one it had before, else the one of that name.

        A chip that is not known yet is created. Raises ChipRetiredError, ForeignAgentError if the
        agent or the chip belongs to another key, and ConflictError if the name belongs to a chip
        that is not behind an agent, or to another agent that is alive.
        """
        known = self._session.get(Agent, said.agent_id)
        if known is not None and not _may_replace(known, said, by, cipher):
            raise ForeignAgentError(known.id)
        chip = self._chip_of(known, said, by, now)
        if chip.retired_at is not None:
            raise ChipRetiredError(chip.id)
        chip.info = said.info | {"chip_id": chip.id}
        self._raise_token(chip.id, said.token)
        agent = known or Agent(id=said.agent_id, chip_id=chip.id, registered_at=now)
        agent.url, agent.version = said.url, said.version
        agent.secret, agent.encrypted_secret = "", cipher.encrypt(said.secret)
        agent.limits, agent.signed = said.limits, said.signed
        agent.former_sha256 = by.shown_sha256 if _knows(agent, by) else None
        agent.key_id, agent.credential_sha256 = by.key_id, by.next_sha256
        self._session.add(agent)
        self._heard(agent, now, alive_until)
        payload = {"agent_id": agent.id, "url": agent.url, "version": agent.version}
        self._emit(chip.id, "agent.registered", now, payload)
        return agent

    def check_key(self, agent_id: str, key_id: str) -> Agent:
        """Return the agent; raise ForeignAgentError unless it belongs to this key.

        Raises AgentNotFoundError also for an agent of an earlier version, which belongs to no key:
        it registers again, and proves itself by its secret.
        """
        agent = self.get(agent_id)
        if agent.key_id is None:
            raise AgentNotFoundError(agent_id)
        if agent.key_id != key_id:
            raise ForeignAgentError(agent_id)
        return agent

    def hand_over(self, key_ids: Sequence[str], key_id: str) -> None:
        """Let the agents of these keys belong to another one, which replaces them."""
        self._session.execute(update(Agent).where(Agent.key_id.in_(key_ids)).values(key_id=key_id))

    def release(self, agent_id: str, now: datetime) -> Agent:
        """Forget the agent: any other may serve its chip from now on. Raises AgentNotFoundError."""
        agent = self.get(agent_id)
        self._session.delete(agent)
        self._session.flush()
        self._emit(agent.chip_id, "agent.released", now, {"agent_id": agent_id})
        return agent

    def keep_call_times(self, chip_id: str, found: Mapping[str, tuple[int, float]]) -> None:
        """Store number and total seconds of calls per verb, of the attempt that drives it."""
        payload = {verb: [calls, round(seconds, 6)] for verb, (calls, seconds) in found.items()}
        self._session.execute(
            update(Agent).where(Agent.chip_id == chip_id).values(call_times=payload)
        )

    def offline(self, chip_ids: Sequence[str], now: datetime) -> set[str]:
        """Return those of these chips whose agent is silent."""
        query = silent_chips(now).where(Chip.id.in_(chip_ids))
        return set(self._session.scalars(query))

    def all_offline(self, now: datetime) -> set[str]:
        """Return the ids of all chips whose agent is missing or silent."""
        return set(self._session.scalars(silent_chips(now)))

    def why_silent(self, chip_id: str, now: datetime) -> str | None:
        """Say why a chip is offline, for the jobs that wait for it; None if it can be driven."""
        if not self.offline([chip_id], now):
            return None
        agent = self.of_chip(chip_id)
        if agent is None:
            return NO_AGENT
        return last_heard_of(agent.url, agent.heartbeat_at)

    def _chip_of(
        self, known: Agent | None, said: Registration, by: Registrant, now: datetime
    ) -> Chip:
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
        self._replace_agent(chip, by, now)
        return chip

    def _replace_agent(self, chip: Chip, by: Registrant, now: datetime) -> None:
        """Let another agent of the same key take over the chip, if the agent before is silent."""
        before = self.of_chip(chip.id)
        if before is None:
            return
        if before.alive_until >= now:
            raise ConflictError(
                f"The chip named '{chip.name}' has an agent at {before.url} that is alive; "
                "stop that one first, or give this agent's chip another name."
            )
        if not by.is_admin and before.key_id != by.key_id:
            raise ForeignAgentError(before.id)
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
        """Raise the token of the lease to the highest that the agent has seen."""
        self._session.execute(
            update(ChipLease)
            .where(ChipLease.chip_id == chip_id, ChipLease.token < token)
            .values(token=token)
        )

    def _heard(self, agent: Agent, now: datetime, alive_until: datetime) -> None:
        before = (agent.heartbeat_at, agent.alive_until)
        agent.heartbeat_at, agent.alive_until = now, alive_until
        self._session.flush()
        if before[1] is not None:  # it has been here before
            emit_online(self._session, agent.chip_id, *before, now)

    def _emit(self, chip_id: str, type: str, now: datetime, data: dict[str, Any]) -> None:
        EventRepository(self._session).append(
            Subject(chip_id=chip_id), type, now.isoformat(), data, now
        )


def _may_replace(agent: Agent, said: Registration, by: Registrant, cipher: SecretCipher) -> bool:
    """Tell whether a registration may replace the address and the secret of this agent.

    Without its credential, an agent that has never shown one is known by its secret: one of an
    earlier version, or one that did not receive the credential. A key alone proves nothing, as
    agents may share it. A secret that cannot be decrypted any more proves nothing either.
    """
    if by.is_admin or _knows(agent, by):
        return True
    stored = cipher.decrypt(agent.encrypted_secret)
    same = stored is not None and hmac.compare_digest(stored.encode(), said.secret.encode())
    return same and agent.former_sha256 is None and agent.key_id in (None, by.key_id)


def _knows(agent: Agent, by: Registrant) -> bool:
    """Tell whether the agent's own credential was shown: the last one, or the one before."""
    shown = by.shown_sha256
    return shown is not None and shown in (agent.credential_sha256, agent.former_sha256)


def reachable(now: datetime) -> ColumnElement[bool]:
    """Condition on a chip joined with its agent: it needs no agent, or its agent is alive."""
    alive = and_(Agent.id.is_not(None), Agent.alive_until >= now)
    return or_(Chip.backend != BACKEND, alive)


def last_heard_of(url: str, heartbeat_at: datetime) -> str:
    """Say where a silent agent was, and when it was last heard of."""
    return f"its agent at {url} was last heard of at {heartbeat_at:%Y-%m-%dT%H:%M:%SZ}"


def silent_chips(now: datetime | BindParameter[datetime]) -> Select[Any]:
    """Select the chips that cannot be driven because their agent is missing or silent."""
    with_agents = select(Chip.id).outerjoin(Agent, Agent.chip_id == Chip.id)
    silent = or_(Agent.id.is_(None), Agent.alive_until < now)
    return with_agents.where(Chip.backend == BACKEND, silent)
