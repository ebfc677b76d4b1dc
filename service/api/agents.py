"""Chip agents: registration under a key of the scope `agent`, and heartbeats."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from ltl_core.chip_info import info_to_json
from service.api.auth import AGENT, READ, ActorDep
from service.api.context import Context, ContextDep
from service.api.views import columns_of
from service.bench.protocol.chip_info import parse_chip_info
from service.db.agent_tables import Agent
from service.db.repositories.agents import AgentRepository, Registration
from service.db.repositories.audit import AuditRepository
from service.db.session import clock
from service.networks import PRIVATE, AgentNetworks, ForbiddenAddressError
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.agents import AgentRequest, AgentView, RegisteredView
from service.settings import Settings

router = APIRouter(prefix="/v1/agents", tags=["agents"])
_AgentId = Annotated[str, Path(max_length=36)]


@router.post("", dependencies=[AGENT])
def register_agent(body: AgentRequest, context: ContextDep, actor: ActorDep) -> RegisteredView:
    """Register an agent and its chip. A chip that is not known yet is created."""
    _check_address(body, context.settings)
    with context.database.writing() as session:
        now = clock(session)
        agent = AgentRepository(session).register(
            _registration(body), now, _alive_until(context, now)
        )
        about = {"chip_id": agent.chip_id, "url": agent.url}
        AuditRepository(session).record(actor, "agent.registered", agent.id, now, **about)
        return _registered(agent, context)


@router.post("/{agent_id}/heartbeat", dependencies=[AGENT])
def hear_agent(agent_id: _AgentId, context: ContextDep) -> RegisteredView:
    """Record a heartbeat of an agent. On 404 the agent has to register again."""
    with context.database.writing() as session:
        now = clock(session)
        agent = AgentRepository(session).beat(agent_id, now, _alive_until(context, now))
        return _registered(agent, context)


@router.get("/{agent_id}", dependencies=[READ])
def get_agent(agent_id: _AgentId, context: ContextDep) -> AgentView:
    """Describe one agent."""
    with context.database.reading() as session:
        return AgentView.model_validate(AgentRepository(session).get(agent_id))


def _registration(body: AgentRequest) -> Registration:
    return Registration(
        agent_id=body.agent_id,
        name=body.name,
        url=str(body.url).rstrip("/"),
        secret=body.secret,
        version=body.version,
        limits=body.limits.model_dump(),
        info=_checked_info(body),
        token=body.token,
    )


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
