"""The blocks of the artifact store that rows name."""

from collections.abc import Iterator

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from service.db.tables import Chip, Job, Student, TargetChunk, TargetSet, Teacher, WeightVersion

_DIGEST = "_sha256"  # ends the name of what a job's result says of a block that it keeps
_COLUMNS = (
    Teacher.weights_sha256,
    TargetChunk.sha256,
    TargetSet.activations_sha256,
    Student.sha256,
    Chip.state_sha256,
    WeightVersion.sha256,
)


class ArtifactReferenceRepository:
    """Reads references in the session's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def referenced(self) -> set[str]:
        """Return the SHA-256 of every block that something may still ask for."""
        return {sha256 for sha256 in self._named() if sha256}

    def _named(self) -> Iterator[str | None]:
        for column in _COLUMNS:
            yield from self._session.scalars(select(column))
        for summary in self._session.scalars(select(TargetSet.summary)):
            yield from (summary or {}).get("blocks", {}).values()
        open_jobs = select(Job.checkpoint_sha256).where(Job.ended_at.is_(None))
        yield from self._session.scalars(open_jobs)
        naming = select(Job.result).where(cast(Job.result, Text).contains(f'{_DIGEST}"'))
        for result in self._session.scalars(naming):
            yield from (value for name, value in (result or {}).items() if name.endswith(_DIGEST))
