"""Liveness and readiness of the service, the two routes that need no key."""

from service.api.context import ContextDep
from service.api.threads import ServiceRouter
from service.db.migrate import is_current
from service.errors import NotReadyError
from service.schemas.resources import HealthView
from service.version import code_version

router = ServiceRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> HealthView:
    """Report that the process answers, and its version."""
    return HealthView(version=code_version())


@router.get("/readyz")
def readyz(context: ContextDep) -> HealthView:
    """Report that the database answers, has the newest schema, and that the disk has room.

    Answers 503 or 507 with the reason otherwise.
    """
    if not is_current(context.database.engine):
        raise NotReadyError("the database has not been migrated to the newest schema")
    context.disk.check()
    return HealthView(version=code_version())
