"""Chip agents: registration under a key of the scope `agent`, and heartbeats."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Path, Response

from ltl_core.chip_info import info_to_json
from service.api.auth import AGENT, READ, ActorDep, PrincipalDep, require_any
from service.api.context import Context, ContextDep
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter
from service.api.views import columns_of
from service.bench.protocol.chip_info import parse_chip_info
from service.db.agent_tables import Agent
from service.db.repositories.agents import AgentRepository, Registrant, Registration
from service.db.repositories.audit import AuditRepository
from service.db.repositories.heartbeats import HeardAgent, Heartbeat, HeartbeatRepository
from service.db.session import Database, clock
from service.digests import sha256_hex
from service.networks import PRIVATE, AgentNetworks, ForbiddenAddressError
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.agents import URL_MAX, AgentRequest, AgentView, RegisteredView
from service.secret_cipher import SecretCipher
from service.settings import Settings
from service.states import Scope

router = ServiceRouter(prefix="/v1/agents", tags=["agents"])
_AgentId = Annotated[str, Path(max_length=36)]


@router.post("", dependencies=[AGENT])
def register_agent(
    body: AgentRequest, principal: PrincipalDep, context: ContextDep, actor: ActorDep
) -> RegisteredView:
    """Register an agent and its chip. A chip that is not known yet is created.

    The agent belongs to the key of its first registration. Another key may register it again only
    with the agent's own credential, which every registration replaces.
    """
    _check_address(body, context.settings)
    credential = secrets.token_urlsafe(32)
    shown = None if body.credential is None else _sha256(body.credential)
    is_admin = Scope.ADMIN in principal.scopes
    by = Registrant(principal.key_id, is_admin, shown, _sha256(credential))
    with context.database.writing() as session:
        now = clock(session)
        agent = AgentRepository(session).register(
            _registration(body, context.settings),
            by,
            now,
            _alive_until(context, now),
            context.cipher,
        )
        about = {"chip_id": agent.chip_id, "url": agent.url}
        AuditRepository(session).record(actor, "agent.registered", agent.id, now, **about)
        return _registered(agent, context).model_copy(update={"credential": credential})


@router.post("/{agent_id}/heartbeat", dependencies=[AGENT])
async def hear_agent(
    agent_id: _AgentId, principal: PrincipalDep, context: ContextDep
) -> RegisteredView:
    """Record a heartbeat of an agent. On 404 the agent has to register again.

    An agent whose stored secret cannot be decrypted any more is treated as an unknown one.
    """
    heard = await context.heartbeats.add(Heartbeat(agent_id, principal.key_id))
    return RegisteredView(**heard._asdict(), heartbeat_s=context.settings.agent_heartbeat_s)


@router.delete("/{agent_id}", dependencies=[require_any(Scope.ADMIN, Scope.AGENT)])
def release_agent(
    agent_id: _AgentId, principal: PrincipalDep, context: ContextDep, actor: ActorDep
) -> AgentView:
    """Release an agent: from now on any agent may serve its chip. Stop the agent first.

    This needs the key to which the agent belongs, or a key of the scope `admin`.
    """
    with context.database.writing() as session:
        agents, now = AgentRepository(session), clock(session)
        if Scope.ADMIN not in principal.scopes:
            agents.check_key(agent_id, principal.key_id)
        agent = agents.release(agent_id, now)
        about = {"chip_id": agent.chip_id, "url": agent.url}
        AuditRepository(session).record(actor, "agent.released", agent_id, now, **about)
        return AgentView.model_validate(agent)


@router.get("/{agent_id}", response_model=AgentView, dependencies=[READ])
def get_agent(agent_id: _AgentId, context: ContextDep) -> Response:
    """Describe one agent."""
    with context.database.reading() as session:
        agents = AgentRepository(session)
        return row_answer("agent", agent_id, lambda: AgentView.model_validate(agents.get(agent_id)))


def hear(
    database: Database, cipher: SecretCipher, silence: timedelta, beats: Sequence[Heartbeat]
) -> Sequence[HeardAgent | Exception]:
    """Record heartbeats in one transaction; `silence` is how long an agent may be quiet."""
    with database.writing() as session:
        now = clock(session)
        return HeartbeatRepository(session, cipher).note(beats, now, now + silence)


def _registration(body: AgentRequest, settings: Settings) -> Registration:
    return Registration(
        agent_id=body.agent_id,
        name=body.name,
        url=_url(body, settings),
        secret=body.secret,
        version=body.version,
        limits=body.limits.model_dump(),
        info=_checked_info(body),
        token=body.token,
        signed=body.signed,
    )


def _url(body: AgentRequest, settings: Settings) -> str:
    """Return the address as it is stored.

    Raises InvalidFieldsError if it is no plain address, too long, or not one of https where an
    authority of agents is set.
    """
    url = str(body.url).rstrip("/")
    if settings.agent_ca is not None and body.url.scheme != "https":
        message = "agents are called by https alone: start it with --tls-certificate and --tls-key"
    elif body.url.username or body.url.password or body.url.query or body.url.fragment:
        message = "an address has no user, no query and no fragment"
    elif len(url) > URL_MAX:
        message = f"an address has at most {URL_MAX} characters"
    else:
        return url
    raise InvalidFieldsError(FieldProblem("/url", message))


def _sha256(credential: str) -> str:
    return sha256_hex(credential.encode())


def _check_address(body: AgentRequest, settings: Settings) -> None:
    """Refuse an agent that this service would not call. Raises InvalidFieldsError."""
    allowed = PRIVATE if settings.agent_networks is None else settings.agent_networks
    try:
        AgentNetworks(allowed, settings.port).resolve(body.url.host or "", body.url.port or 0)
    except ForbiddenAddressError as error:
        raise InvalidFieldsError(FieldProblem("/url", str(error))) from error
    except OSError as error:
        message = f"the name cannot be resolved from here ({error})"
        raise InvalidFieldsError(FieldProblem("/url", message)) from error


def _checked_info(body: AgentRequest) -> dict[str, object]:
    try:
        return info_to_json(parse_chip_info(body.info))
    except ValueError as error:
        raise InvalidFieldsError(FieldProblem("/info", str(error))) from error


def _alive_until(context: Context, now: datetime) -> datetime:
    return now + timedelta(seconds=context.settings.agent_silence_s)


def _registered(agent: Agent, context: Context) -> RegisteredView:
    columns = columns_of(agent, RegisteredView)
    return RegisteredView(**columns, heartbeat_s=context.settings.agent_heartbeat_s)
