"""Is it alive, and does it take work? The two questions that need no key."""

from fastapi import APIRouter

from service.api.context import ContextDep
from service.db.migrate import is_current
from service.errors import NotReadyError
from service.schemas.resources import HealthView
from service.version import code_version

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> HealthView:
    """The process answers."""
    return HealthView(version=code_version())


@router.get("/readyz")
def readyz(context: ContextDep) -> HealthView:
    """The database answers and has the newest schema."""
    if not is_current(context.database.engine):
        raise NotReadyError("the database waits for its migrations")
    return HealthView(version=code_version())
