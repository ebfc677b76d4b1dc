"""Routes of the job page."""

from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from service.api import cancelling
from service.api.auth import ActorDep
from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.errors import JobStateError, NotFoundError
from service.web.access import Operator, Reader, not_allowed, to_login
from service.web.job import read_job
from service.web.rendering import show, show_part, show_problem

router = ServiceRouter(include_in_schema=False)


@router.get("/jobs/{job_id}")
def job(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Show the job page: progress and result of one job."""
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
        detail = "Cancelling a job needs a key with the scope 'operate'; sign in with such a key."
        return not_allowed(request, detail)
    # A job may have ended before the button was pressed; its page shows how.
    try:
        with suppress(JobStateError):
            cancelling.cancel(context, actor, job_id)
    except NotFoundError as error:
        return show_problem(request, 404, "Not found", str(error))
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


def _job(context: Context, job_id: str) -> dict[str, Any]:
    now = utc_now()
    with context.database.reading() as session:
        return {"page": read_job(session, job_id, context.kinds, now), "now": now}
