"""Orphan blocks, which no row names: a crash between two writes left them, or an upload."""

import time

from service.artifacts import ArtifactStore
from service.db.repositories.artifact_references import ArtifactReferenceRepository
from service.db.session import Database

_YOUNG = 24 * 3600.0  # s in which whoever stored a block names it in a row


class OrphanSweep:
    """Removes orphan blocks. A block is stored first and named then, so a young one stays.

    Storing a block that is there already makes it young again: nothing can come to name a block
    while it is being removed.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        self._database = database
        self._artifacts = artifacts

    def remove_orphans(self) -> int:
        """Remove the orphans that are a day old; return how many there were."""
        before = time.time() - _YOUNG
        stored = set(self._artifacts.every())
        with self._database.reading() as session:
            orphans = stored - ArtifactReferenceRepository(session).referenced()
        return sum(self._artifacts.remove_old(sha256, before) for sha256 in orphans)
