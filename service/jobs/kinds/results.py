"""The store of results: rows that jobs with a chip write in the transaction that ends them."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository, ProbeRecord
from service.db.tables import Job
from service.jobs.messages import Json
from service.states import ChipHealth


class ResultStore(NamedTuple):
    """One attempt that succeeded, and where its result goes."""

    session: Session
    job: Job
    token: int
    now: datetime
    artifacts: ArtifactStore

    def record_accuracy(self, accuracy: float, result: Json) -> None:
        """Record what the chip was measured to do, and its health by that."""
        chips, chip_id = ChipRepository(self.session), str(self.job.chip_id)
        health = ChipHealth(result.get("health", ChipHealth.UNKNOWN))
        chips.record_accuracy(chip_id, accuracy)
        chips.set_health(chip_id, health, self.job.id, self.now)

    def record_fingerprint(self, answer: Json, version: int, score: float | None) -> None:
        """Record what the chip answered to its fixed stimulus while `version` was in force."""
        probed = ProbeRecord(
            chip_id=str(self.job.chip_id),
            job_id=self.job.id,
            version=version,
            answer=answer,
            score=score,
            chip_time=float(answer["chip_time_s"]),
        )
        FingerprintRepository(self.session).keep(probed, self.now)
