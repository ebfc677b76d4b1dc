"""The audit trail, for keys of the scope `admin`: who changed what, from where, and when."""

from typing import Annotated

from fastapi import Depends, Query, Response

from service.api.auth import ADMIN
from service.api.context import ContextDep, PageDep, Since, Until
from service.api.lists import list_page
from service.api.threads import ServiceRouter
from service.db.repositories.audit import AuditFilter, AuditRepository
from service.schemas.audit import AuditView
from service.schemas.base import Page

router = ServiceRouter(prefix="/v1/audit", tags=["audit"], dependencies=[ADMIN])
_Text = Annotated[str | None, Query(max_length=200)]


async def _wanted(
    action: _Text = None,
    subject: _Text = None,
    key_id: _Text = None,
    address: _Text = None,
    since: Since = None,
    until: Until = None,
) -> AuditFilter:
    return AuditFilter(action, subject, key_id, address, since, until)


@router.get("", response_model=Page[AuditView])
def list_audit(
    context: ContextDep, page: PageDep, wanted: Annotated[AuditFilter, Depends(_wanted)]
) -> Response:
    """List changes, newest first: of keys, sessions, teachers, target sets, chips, jobs, agents."""
    with context.database.reading() as session:
        found = AuditRepository(session).list(wanted, page)
    return list_page(found, AuditView.model_validate)
