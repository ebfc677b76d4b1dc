"""Routes of the job page."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from service.api import cancelling
from service.api.auth import ActorDep
from service.api.context import Context, ContextDep
from service.api.idempotency import Once
from service.api.retrying import retry
from service.api.threads import ServiceRouter
from service.db.session import clock
from service.errors import JobStateError, NotFoundError
from service.web.access import Operator, Reader, not_allowed, to_login
from service.web.job.page import read_job
from service.web.rendering import show, show_part, show_problem

_NEEDS_OPERATE = "{} a job needs a key with the scope 'operate'; sign in with such a key."

router = ServiceRouter(include_in_schema=False)


@router.get("/jobs/{job_id}")
def job(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Show the job page: how far a job is, and what came of it."""
    if not reader:
        return to_login(request)
    try:
        shown = _job(context, job_id)
    except NotFoundError as error:
        return show_problem(request, 404, "Not found", str(error))
    return show(request, "job.html", **shown, live=f"/fragments/jobs/{job_id}")


@router.get("/fragments/jobs/{job_id}")
def job_fragment(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Return the live part of the job page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "job_live.html", _job(context, job_id))


@router.post("/jobs/{job_id}/cancel")
def cancel(
    request: Request, context: ContextDep, operator: Operator, actor: ActorDep, job_id: str
) -> Response:
    """Cancel a job, then show its page again."""
    if not operator:
        return not_allowed(request, _NEEDS_OPERATE.format("Cancelling"))
    try:
        # A job may have ended before the button was pressed; its page shows how.
        with suppress(JobStateError):
            cancelling.cancel(context, actor, job_id)
    except NotFoundError as error:
        return show_problem(request, 404, "Not found", str(error))
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


@router.post("/jobs/{job_id}/retry")
def retry_job(
    request: Request, context: ContextDep, operator: Operator, actor: ActorDep, job_id: str
) -> Response:
    """Submit the request of a job again, then show the page of the new job.

    The button of one page makes one job, however often it is pressed.
    """
    if not operator:
        return not_allowed(request, _NEEDS_OPERATE.format("Retrying"))
    try:
        made = retry(context, actor, job_id, Once(f"page {job_id}", str(actor.key_id)))
    except NotFoundError as error:
        return show_problem(request, 404, "Not found", str(error))
    except JobStateError as error:
        return show_problem(request, 409, "Not retried", str(error))
    return RedirectResponse(f"/jobs/{made.view.id}", status_code=303)


def _job(context: Context, job_id: str) -> dict[str, Any]:
    silence = timedelta(seconds=context.settings.executor_silence_s)
    with context.database.reading() as session:
        now = clock(session)  # that of the heartbeats
        return {"page": read_job(session, job_id, context.kinds, silence, now), "now": now}
