"""The blocks of the artifact store that rows name."""

import re
from collections.abc import Iterator

from sqlalchemy import Select, Text, cast, select
from sqlalchemy.orm import Session

from service.db.tables import Chip, Job, Student, TargetChunk, TargetSet, Teacher, WeightVersion

_DIGEST = "_sha256"  # ends the name of what a job's result says of a block that it keeps
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
        yield from self._in_text(select(cast(TargetSet.summary, Text)))
        open_jobs = select(Job.checkpoint_sha256).where(Job.ended_at.is_(None))
        yield from self._session.scalars(open_jobs)
        result = cast(Job.result, Text)
        yield from self._in_text(select(result).where(result.contains(f'{_DIGEST}"')))

    def _in_text(self, texts: Select[str]) -> Iterator[str]:
        """Yield what may be a SHA-256: a text need not be the JSON that it should be."""
        for text in self._session.scalars(texts):
            yield from _SHA256.findall(text or "")
