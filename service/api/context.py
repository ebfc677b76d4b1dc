"""What routes depend on: the parts of the service, the page of a list, the time."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from fastapi import Depends, Query, Request
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session

from service.api.batches import Batches
from service.api.credentials import CredentialStore
from service.api.notifier import EventNotifier
from service.api.snapshots import JobSnapshot
from service.api.threads import Threads
from service.artifacts import ArtifactStore
from service.db.repositories.heartbeats import HeardAgent, Heartbeat
from service.db.repositories.paging import AGE, PageRequest
from service.db.session import Database
from service.disk_space import DiskSpace
from service.jobs.engine import JobEngine
from service.jobs.kinds.registry import JobKinds
from service.jobs.submit import Submitter
from service.schemas.base import Instant
from service.secret_cipher import SecretCipher
from service.settings import Settings

if TYPE_CHECKING:  # it needs this module
    from service.api.submissions import Submitted, Submitting

Responses = dict[int | str, dict[str, Any]]  # how the OpenAPI document describes a route's answers


class Context(NamedTuple):
    """The parts of the service, created once by `create_app`."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    engine: JobEngine
    credentials: CredentialStore
    cipher: SecretCipher
    notifier: EventNotifier
    kinds: JobKinds
    metrics: CollectorRegistry
    disk: DiskSpace
    threads: Threads
    heartbeats: Batches[Heartbeat, HeardAgent]
    jobs: Batches[str, JobSnapshot]  # by id
    submissions: "Batches[Submitting, Submitted]"
    memory_limit: int | None  # of one job, bytes; None where other machines run the jobs

    def submitter(self, session: Session, now: datetime, key_id: str | None) -> Submitter:
        """Return what makes jobs of this key in a transaction."""
        return Submitter(session, self.engine, now, key_id, self.kinds, self.memory_limit)


async def _context(request: Request) -> Context:
    return cast(Context, request.app.state.context)


_Limit = Annotated[int, Query(ge=1, le=200)]
_Cursor = Annotated[str | None, Query(max_length=2000, description="next_cursor, as given")]


def _page_sorted_by(*names: str) -> Callable[..., Coroutine[Any, Any, PageRequest]]:
    """Return what reads the page of a list that can be sorted by age and by these fields."""
    pattern = f"^-?({'|'.join((AGE, *names))})$"

    async def page(
        limit: _Limit = 50,
        cursor: _Cursor = None,
        sort: Annotated[str, Query(pattern=pattern)] = f"-{AGE}",
    ) -> PageRequest:
        rising = not sort.startswith("-")
        return PageRequest(limit, cursor, oldest_first=rising, sort=sort.removeprefix("-"))

    return page


ContextDep = Annotated[Context, Depends(_context)]
PageDep = Annotated[PageRequest, Depends(_page_sorted_by())]
NamedPageDep = Annotated[PageRequest, Depends(_page_sorted_by("name"))]
ChipPageDep = Annotated[PageRequest, Depends(_page_sorted_by("name", "health", "predicted_loss"))]
Since = Annotated[Instant | None, Query(description="from this time on")]
Until = Annotated[Instant | None, Query(description="before this time")]


def utc_now() -> datetime:
    """Return the time of this machine's clock, in UTC."""
    return datetime.now(UTC)
