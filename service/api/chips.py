"""Chips: register, rename and retire them; read their weight versions and their history."""

from typing import Annotated

from fastapi import Path, Query, Request, Response, status

from service.api.auth import OPERATE, READ, ActorDep
from service.api.cancelling import cancel_waiting, ended_ids, forget
from service.api.chip_registration import info_of_driver, make_chip_row
from service.api.conditional import IfMatch, require_match, tagged
from service.api.context import ChipPageDep, Context, ContextDep, PageDep, Since, Until, utc_now
from service.api.downloads import DOWNLOAD, block_answer
from service.api.idempotency import (
    IdempotentRequest,
    Made,
    Once,
    OnceDep,
    answer_made,
    made_earlier,
)
from service.api.lists import list_page
from service.api.names import ChipId
from service.api.one_row import one_row, row_answer
from service.api.threads import ServiceRouter, run_in
from service.api.views import chip_view, chip_viewer, job_viewer
from service.bench.drivers import is_driver
from service.db.repositories.agents import AgentRepository
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.chips import ChipFilter, ChipRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.policies import PolicyRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Chip
from service.errors import ChipAgentNotFoundError
from service.schemas.agents import AgentView
from service.schemas.base import Page
from service.schemas.jobs import JobView
from service.schemas.resources import (
    ChipPatch,
    ChipRequest,
    ChipView,
    WeightVersionView,
)
from service.states import ChipHealth

router = ServiceRouter(prefix="/v1/chips", tags=["chips"], dependencies=[READ])
_Version = Annotated[int, Path(ge=1, lt=2**31)]
_REGISTER = "POST /v1/chips"


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    dependencies=[OPERATE],
    responses=made_earlier(ChipView),
)
async def register_chip(
    body: ChipRequest, response: Response, context: ContextDep, actor: ActorDep, once: OnceDep
) -> ChipView:
    """Register a chip. A driver is opened and closed once, to learn what its chip is."""
    writers = context.threads.writers
    chip = await run_in(writers, make_chip_row, body, context, utc_now())
    if is_driver(body.backend) and not await run_in(writers, _is_made, context, once, body):
        chip.info = await info_of_driver(chip, context)
    made = await run_in(writers, _store, context, actor, once, body, chip)
    answer_made(response, f"/v1/chips/{made.view.id}", earlier=made.earlier)
    return made.view


@router.get("", response_model=Page[ChipView])
def list_chips(
    context: ContextDep,
    page: ChipPageDep,
    health: ChipHealth | None = None,
    backend: Annotated[str | None, Query(max_length=40)] = None,
    name: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """List chips, newest first."""
    with context.database.reading() as session:
        found = ChipRepository(session).list(ChipFilter(health, backend, name), page)
        return list_page(found, chip_viewer(session, found.rows, utc_now()))


@router.get("/{chip_id}", response_model=ChipView)
def get_chip(chip_id: ChipId, context: ContextDep) -> Response:
    """Describe one chip: its state, its health, and what it has queued."""
    with context.database.reading() as session:
        chips = ChipRepository(session)
        return row_answer(
            "chip", chip_id, lambda: chip_view(session, chips.get(chip_id), utc_now())
        )


@router.patch("/{chip_id}", dependencies=[OPERATE], response_model=ChipView)
def rename_chip(
    chip_id: ChipId,
    body: ChipPatch,
    context: ContextDep,
    actor: ActorDep,
    if_match: IfMatch = None,
) -> Response:
    """Give a chip another name. With `If-Match`, only if the chip still has this ETag."""
    now = utc_now()
    with context.database.writing() as session:
        chips = ChipRepository(session)
        if if_match is not None:
            require_match(if_match, chip_view(session, chips.lock(chip_id), now))
        chip = chips.rename(chip_id, body.name)
        AuditRepository(session).record(actor, "chip.renamed", chip_id, now, name=body.name)
        return tagged(chip_view(session, chip, now))


@router.delete("/{chip_id}", dependencies=[OPERATE])
def retire_chip(chip_id: ChipId, context: ContextDep, actor: ActorDep) -> ChipView:
    """Retire a chip: it takes no more jobs, its waiting jobs are cancelled, its history stays."""
    now = utc_now()
    with context.database.writing() as session:
        chip = ChipRepository(session).retire(chip_id, now)
        PolicyRepository(session).stop_for(chip_id)
        cancelled = cancel_waiting(session, chip_id, now)
        ended = ended_ids(cancelled)
        AuditRepository(session).record(
            actor, "chip.retired", chip_id, now, jobs_cancelled=len(cancelled)
        )
        view = chip_view(session, chip, now)
    forget(context, ended)
    return view


@router.get("/{chip_id}/agent")
def get_agent_of_chip(chip_id: ChipId, context: ContextDep) -> AgentView:
    """Describe the agent that serves one chip."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        with one_row("agent", f"of chip {chip_id}"):
            agent = AgentRepository(session).of_chip(chip_id)
            if agent is None:
                raise ChipAgentNotFoundError(chip_id)
            return AgentView.model_validate(agent)


@router.get("/{chip_id}/weights", response_model=Page[WeightVersionView])
def list_weights(chip_id: ChipId, context: ContextDep, page: PageDep) -> Response:
    """List the weight versions of one chip, newest first."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        found = WeightRepository(session).list(chip_id, page)
    return list_page(found, WeightVersionView.model_validate)


@router.get("/{chip_id}/weights/{version}", response_model=WeightVersionView)
def get_weights(chip_id: ChipId, version: _Version, context: ContextDep) -> Response:
    """Describe one weight version of a chip."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        weights = WeightRepository(session)
        return row_answer(
            "weight version",
            f"{version} of chip {chip_id}",
            lambda: WeightVersionView.model_validate(weights.get(chip_id, version)),
        )


@router.get("/{chip_id}/weights/{version}/block", response_class=Response, responses=DOWNLOAD)
def download_weights(
    chip_id: ChipId, version: _Version, request: Request, context: ContextDep
) -> Response:
    """Download the codes and trims of one weight version."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        weights = WeightRepository(session)
        with one_row("weight version", f"{version} of chip {chip_id}"):
            found = weights.get(chip_id, version)
    block = weights.block_of(found)
    return block_answer(request, block, found.sha256)


@router.get("/{chip_id}/history", response_model=Page[JobView])
def list_history(
    chip_id: ChipId, context: ContextDep, page: PageDep, since: Since = None, until: Until = None
) -> Response:
    """List the jobs of one chip, newest first: all, or those that were sent in a time."""
    with context.database.reading() as session:
        ChipRepository(session).get(chip_id)
        found = JobRepository(session).list(
            JobFilter(chip_id=chip_id, since=since, until=until), page
        )
        return list_page(found, job_viewer(session, found.rows))


def _is_made(context: Context, once: Once, body: ChipRequest) -> bool:
    """Return whether an earlier request made the chip. Raises IdempotencyMismatchError."""
    with context.database.writing() as session:
        return IdempotentRequest(session, _REGISTER, once, body).earlier_result() is not None


def _store(
    context: Context, actor: Actor, once: Once, body: ChipRequest, chip: Chip
) -> Made[ChipView]:
    """Store a chip; return it, or the one that an earlier request made."""
    now = chip.created_at
    with context.database.writing() as session:
        chips = ChipRepository(session)
        idempotent = IdempotentRequest(session, _REGISTER, once, body)
        if made := idempotent.earlier_result():
            chip = chips.get(made)
        else:
            chips.add(chip)
            idempotent.remember(chip.id, now)
            about = {"name": chip.name, "backend": chip.backend}
            AuditRepository(session).record(actor, "chip.registered", chip.id, now, **about)
        return Made(chip_view(session, chip, now), earlier=made is not None)
