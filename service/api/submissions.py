"""Submissions of jobs that come together: one transaction stores them all.

Each request is admitted or refused by itself, before any is stored. What one of them has to wait
for, such as a chip that another unit is changing, holds up that one alone.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from ltl_core.errors import CalibrationError
from service.api.batches import WorkAlone
from service.api.context import utc_now
from service.api.idempotency import IdempotentRequests, Once
from service.api.names import with_ids
from service.api.views import job_viewer
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.jobs import JobRepository
from service.db.session import Database
from service.db.tables import Job
from service.jobs.submit import Admitted, Submitter
from service.schemas.jobs import JobView, Submission

ROUTE = "POST /v1/jobs"  # whose Idempotency-Keys they are
MakeSubmitter = Callable[[Session, datetime], Submitter]
_Outcomes = dict[int, "Submitted | Exception"]  # by the place of the request


class Submitting(NamedTuple):
    """A request for a job, and who sent it."""

    body: Submission
    once: Once
    actor: Actor


class Submitted(NamedTuple):
    """The job of a request, and whether an earlier request under the same key made it."""

    view: JobView
    earlier: bool


def submit_together(
    database: Database, make_submitter: MakeSubmitter, asked: Sequence[Submitting]
) -> Sequence[Submitted | Exception]:
    """Store the jobs of all requests that are admitted; return what becomes of each request."""
    now = utc_now()
    with database.writing() as session:
        requests = [(one.once, one.body) for one in asked]
        idempotent = IdempotentRequests(session, ROUTE, requests)
        submitter = make_submitter(session, now)
        outcomes: _Outcomes = {place: WorkAlone() for place in idempotent.repeated}
        made = _made_earlier(session, idempotent, outcomes)
        new = {
            place: one
            for place, one in enumerate(asked)
            if place not in outcomes and place not in made
        }
        admitted = _admitted(session, submitter, new, outcomes)
        jobs = dict(zip(admitted, submitter.queue(list(admitted.values())), strict=True))
        idempotent.remember({place: job.id for place, job in jobs.items()}, now)
        audit = AuditRepository(session)
        for place, job in jobs.items():
            about = {"kind": job.kind, "chip_id": job.chip_id}
            audit.record(asked[place].actor, "job.submitted", job.id, now, **about)
        view = job_viewer(session, [*jobs.values(), *made.values()])
        outcomes |= {place: Submitted(view(job), earlier=False) for place, job in jobs.items()}
        outcomes |= {place: Submitted(view(job), earlier=True) for place, job in made.items()}
    return [outcomes[place] for place in range(len(asked))]


def _made_earlier(
    session: Session, idempotent: IdempotentRequests, outcomes: _Outcomes
) -> dict[int, Job]:
    """Return the jobs that earlier requests made under the same keys."""
    made = {}
    for place in idempotent.known:
        try:
            made[place] = JobRepository(session).get(idempotent.earlier_result(place))
        except CalibrationError as error:
            outcomes[place] = error
    return made


def _admitted(
    session: Session, submitter: Submitter, new: dict[int, Submitting], outcomes: _Outcomes
) -> dict[int, Admitted]:
    """Return the requests that are admitted; note in `outcomes` why others are not."""
    bodies = {}
    for place, one in new.items():
        try:
            bodies[place] = with_ids(session, one.body)
        except CalibrationError as error:
            outcomes[place] = error
    if len(bodies) > 1:
        submitter.look_at(list(bodies.values()))
    admitted = {}
    for place, body in bodies.items():
        if submitter.must_wait(body):
            outcomes[place] = WorkAlone()
            continue
        try:
            admitted[place] = submitter.admit(body, new[place].actor.key_id)
        except CalibrationError as error:
            outcomes[place] = error
    return admitted
