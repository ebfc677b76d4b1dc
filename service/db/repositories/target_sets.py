"""Target sets and their chunks."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.sorted_lists import Sort, by_text, fetch_sorted
from service.db.tables import TargetChunk, TargetSet
from service.errors import (
    TargetSetNotFoundError,
    TargetSetStateError,
)
from service.states import TargetSetState


class TargetSetRepository:
    """Stores target sets and their chunks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, target_set_id: str) -> TargetSet:
        """Return the target set. Raises TargetSetNotFoundError."""
        target_set = load_row(self._session, TargetSet, target_set_id, TargetSetNotFoundError.what)
        if target_set is None:
            raise TargetSetNotFoundError(target_set_id)
        return target_set

    def get_in(self, target_set_id: str, state: TargetSetState) -> TargetSet:
        """Return a target set that is in this state, and keep it so until this unit ends.

        Raises TargetSetNotFoundError and TargetSetStateError.
        """
        one = select(TargetSet.id).where(TargetSet.id == target_set_id)
        self._session.execute(one.with_for_update())
        target_set = self.get(target_set_id)
        if target_set.state != state:
            raise TargetSetStateError(target_set_id, target_set.state, state)
        return target_set

    def list(self, teacher_id: str | None, page: PageRequest) -> RowPage[TargetSet]:
        """Return one page of target sets."""
        query = select(TargetSet)
        if teacher_id is not None:
            query = query.where(TargetSet.teacher_id == teacher_id)
        if page.sort == "name":
            by_name = Sort(TargetSet.name, by_text)
            return fetch_sorted(self._session, query, TargetSet.id, by_name, page)
        return fetch_page(self._session, query, TargetSet.id, page)

    def add(self, target_set: TargetSet) -> None:
        """Store a new target set."""
        self._session.add(target_set)
        self._session.flush()

    def chunk(self, target_set_id: str, index: int) -> TargetChunk | None:
        """Return the chunk of this index, or None if it has not been uploaded."""
        return self._session.get(TargetChunk, (target_set_id, index))

    def chunks(self, target_set_id: str) -> Sequence[TargetChunk]:
        """Return the chunks that have been uploaded, ordered by index."""
        query = select(TargetChunk).where(TargetChunk.target_set_id == target_set_id)
        return self._session.scalars(query.order_by(TargetChunk.index)).all()

    def arrived(self, target_set_id: str) -> frozenset[int]:
        """Return the indices of the chunks that have been uploaded."""
        query = select(TargetChunk.index).where(TargetChunk.target_set_id == target_set_id)
        return frozenset(self._session.scalars(query))

    def count_arrived(self, target_set_ids: Sequence[str]) -> dict[str, int]:
        """Return how many chunks of each target set have arrived; those without are absent."""
        query = (
            select(TargetChunk.target_set_id, func.count())
            .where(TargetChunk.target_set_id.in_(target_set_ids))
            .group_by(TargetChunk.target_set_id)
        )
        return {row[0]: row[1] for row in self._session.execute(query)}

    def put_chunk(self, chunk: TargetChunk) -> None:
        """Store a chunk, in place of an earlier one with the same index."""
        self._session.execute(
            delete(TargetChunk).where(
                TargetChunk.target_set_id == chunk.target_set_id, TargetChunk.index == chunk.index
            )
        )
        self._session.add(chunk)
        self._session.flush()

    def set_state(
        self, target_set_id: str, state: TargetSetState, reason: str | None = None
    ) -> None:
        """Set the state, with the reason if it failed."""
        self._session.execute(
            update(TargetSet)
            .where(TargetSet.id == target_set_id)
            .values(state=state, reason=reason)
        )

    def set_ready(self, job_id: str, token: int, summary: Json, activations_sha256: str) -> None:
        """Store the result of a `collect` job. Raises AttemptSupersededError."""
        jobs = JobRepository(self._session)
        jobs.check_driven_by(job_id, token)
        self._session.execute(
            update(TargetSet)
            .where(TargetSet.id == jobs.get(job_id).target_set_id)
            .values(
                state=TargetSetState.READY,
                reason=None,
                summary=summary,
                activations_sha256=activations_sha256,
            )
        )
