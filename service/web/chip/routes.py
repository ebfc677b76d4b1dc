"""Routes of the chip page, and of the pages on which its actions are confirmed."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from uuid_utils import uuid7

from ltl_core.errors import CalibrationError
from service.api import chips
from service.api.auth import ActorDep, refuse_foreign_pages
from service.api.context import Context, ContextDep, utc_now
from service.api.errors import kind_of
from service.api.idempotency import IdempotentRequest, Once
from service.api.names import ChipId
from service.api.threads import ServiceRouter
from service.damage_errors import RowDamagedError
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.chip_history import ChipHistoryRepository, newest_students
from service.errors import ChipRetiredError, NotFoundError
from service.schemas.jobs import Submission
from service.web.access import Form, Operator, Reader, not_allowed, to_login
from service.web.chip.actions import ACTIONS, Action, cost_rows, job_body, last_jobs
from service.web.chip.page import COSTS_READ, read_chip
from service.web.rendering import show, show_part

router = ServiceRouter(include_in_schema=False)
Cursor = Annotated[str | None, Query(max_length=200)]
_STUDENTS = 50  # to choose from
_SUBMIT = "POST /v1/jobs"


@router.get("/chips/{chip_id}")
def chip(
    request: Request, context: ContextDep, reader: Reader, chip_id: ChipId, jobs: Cursor = None
) -> Response:
    """Show the page of one chip, by its id or its name."""
    if not reader:
        return to_login(request)
    query = f"?{urlencode({'jobs': jobs})}" if jobs else ""
    live = f"/fragments/chips/{chip_id}{query}"
    return show(request, "chip.html", **_chip(context, chip_id, jobs), live=live)


@router.get("/fragments/chips/{chip_id}")
def chip_fragment(
    request: Request, context: ContextDep, reader: Reader, chip_id: ChipId, jobs: Cursor = None
) -> Response:
    """Return the live part of the chip page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "chip_live.html", _chip(context, chip_id, jobs))


@router.get("/chips/{chip_id}/{action}")
def confirm(
    request: Request,
    context: ContextDep,
    reader: Reader,
    operator: Operator,
    chip_id: ChipId,
    action: str,
) -> Response:
    """Show what an action does and costs, with the button that begins it."""
    if not reader:
        return to_login(request)
    wanted = _action(action)
    if not operator:
        return _refused(request, wanted)
    return _confirmation(request, context, chip_id, wanted, {})


@router.post("/chips/{chip_id}/{action}")
def act(
    request: Request,
    context: ContextDep,
    operator: Operator,
    actor: ActorDep,
    form: Form,
    chip_id: ChipId,
    action: str,
) -> Response:
    """Do what was confirmed: retire the chip, or queue a job and show its page."""
    refuse_foreign_pages(request)
    wanted = _action(action)
    if not operator:
        return _refused(request, wanted)
    if wanted.is_final:
        chips.retire_chip(chip_id, context, actor)
        return RedirectResponse(f"/chips/{chip_id}", status_code=303)
    try:
        job_id = _submit(context, actor, wanted, chip_id, form)
    except NotFoundError:
        raise
    except (ValidationError, CalibrationError) as error:
        return _confirmation(request, context, chip_id, wanted, form, error)
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise HTTPException(404)
    return ACTIONS[name]


def _refused(request: Request, action: Action) -> Response:
    detail = (
        f"To {action.name} a chip needs a key with the scope 'operate'; sign in with such a key."
    )
    return not_allowed(request, detail)


def _chip(context: Context, chip_id: str, cursor: str | None) -> dict[str, Any]:
    now = utc_now()
    with context.database.reading() as session:
        page = read_chip(session, chip_id, cursor, context.kinds, now)
    older = f"/chips/{chip_id}?{urlencode({'jobs': page.jobs_cursor})}"
    actions = [
        action
        for action in ACTIONS.values()
        if page.version is not None or not action.needs_version
    ]
    return {"page": page, "now": now, "older_jobs": older, "actions": actions}


def _confirmation(
    request: Request,
    context: Context,
    chip_id: str,
    action: Action,
    form: dict[str, str],
    error: Exception | None = None,
) -> Response:
    """Show the page of an action.

    Raises ChipNotFoundError, RowDamagedError and ChipRetiredError.
    """
    now = utc_now()
    with context.database.reading() as session:
        page = read_chip(session, chip_id, None, context.kinds, now)
        if page.is_damaged:
            raise RowDamagedError("chip", chip_id)
        if page.is_retired:
            raise ChipRetiredError(chip_id)
        costs = ChipHistoryRepository(session, chip_id).costs(COSTS_READ)
        students = newest_students(session, _STUDENTS) if action.takes_student else []
    return show(
        request,
        "chip_confirm.html",
        status=200 if error is None else _status(error),
        page=page,
        action=action,
        rows=cost_rows(action, costs),
        last=last_jobs(action, costs),
        students=students,
        chosen=form.get("student_id") or (page.version.student_id if page.version else ""),
        form=form,
        once=form.get("once") or str(uuid7()),
        wrong=_messages(error),
        now=now,
    )


def _status(error: Exception) -> int:
    return 422 if isinstance(error, ValidationError) else kind_of(error).status


def _messages(error: Exception | None) -> list[str]:
    if isinstance(error, ValidationError):
        return [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return [] if error is None else [str(error)]


def _submit(
    context: Context, actor: Actor, action: Action, chip_id: str, form: dict[str, str]
) -> str:
    """Queue the job, once for each form that was shown; return its id.

    Raises ValidationError, and what the submission of a job raises.
    """
    kind = context.kinds[action.name]
    body: Submission = kind.request.model_validate(job_body(action, chip_id, form))
    context.disk.check()
    now = utc_now()
    with context.database.writing() as session:
        once = Once(form.get("once") or None, str(actor.key_id))
        idempotent = IdempotentRequest(session, _SUBMIT, once, body)
        if made := idempotent.earlier_result():
            return made
        job = context.submitter(session, now, actor.key_id).submit(body)
        idempotent.remember(job.id, now)
        about = {"kind": job.kind, "chip_id": job.chip_id}
        AuditRepository(session).record(actor, "job.submitted", job.id, now, **about)
        return job.id
