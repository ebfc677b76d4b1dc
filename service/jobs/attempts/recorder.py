"""What a job did, as rows: every write carries the job's token, one transaction each."""

from datetime import datetime

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.fingerprints import FingerprintRepository, ProbeRecord
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.policies import PolicyRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.weights import Publication, WeightRepository
from service.db.tables import Job
from service.jobs.health import health_by_accuracy, worse
from service.jobs.messages import Checkpointed, Ended, Json, Logged, Progressed
from service.states import ChipHealth, JobKind, JobStatus, Split, TargetSetState


class Recorder:
    """Writes for one attempt of one job, in the session's transaction."""

    def __init__(self, session: Session, job: Job, token: int, now: datetime) -> None:
        self._session = session
        self._job = job
        self._token = token
        self._now = now
        self._jobs = JobRepository(session)

    def progress(self, message: Progressed) -> None:
        self._jobs.write_progress(
            self._job.id, self._token, message.progress, message.spent, self._now
        )
        if self._job.chip_id is not None and message.call_times:
            AgentRepository(self._session).keep_call_times(self._job.chip_id, message.call_times)

    def checkpoint(self, message: Checkpointed) -> None:
        self._jobs.save_checkpoint(
            self._job.id,
            self._token,
            message.sha256,
            message.step,
            message.chip_state_sha256,
            self._now,
        )

    def log(self, message: Logged, number: int) -> None:
        """Lines of different attempts have different keys."""
        self._jobs.check_driven_by(self._job.id, self._token)
        self._tell("job.log", f"{self._job.attempt}:{number}", {"line": message.line})

    def end(self, ended: Ended, artifacts: ArtifactStore) -> None:
        """The result, what it made, the terminal status and the free chip: all or nothing."""
        result = ended.result
        if ended.status == JobStatus.SUCCEEDED:
            result = (result or {}) | self._keep_what_was_made(ended, artifacts)
        elif self._job.kind == JobKind.COLLECT and self._job.target_set_id is not None:
            TargetSetRepository(self._session).set_state(
                self._job.target_set_id, TargetSetState.FAILED, ended.reason
            )
        if ended.chip_state_sha256 is not None:
            self._jobs.save_chip_state(
                self._job.id, self._token, ended.chip_state_sha256, self._now
            )
        shown = _without_rates(result) if self._job.kind == JobKind.PROBE else result
        self._jobs.end(self._job.id, self._token, ended.status, ended.reason, shown, self._now)
        if self._job.chip_id is not None:
            PolicyRepository(self._session).after_job(self._jobs.get(self._job.id), self._now)
            LeaseRepository(self._session).release(self._job.chip_id, self._token)

    def _keep_what_was_made(self, ended: Ended, artifacts: ArtifactStore) -> Json:
        """What the result gains by it."""
        result = ended.result or {}
        match JobKind(self._job.kind):
            case JobKind.COLLECT:
                return self._keep_targets(ended.blocks, result)
            case JobKind.TRAIN:
                return self._keep_student(ended.blocks["student"], result)
            case JobKind.CALIBRATE:
                self._measured(float(result["accuracy"]["after"]), result)
                return self._keep_weights(ended.blocks, result, artifacts)
            case JobKind.TUNE | JobKind.EVALUATE:
                self._measured(float(result["accuracy"]["now"]), result)
                return {}
            case JobKind.PROBE:
                return self._keep_probe(result)

    def _keep_probe(self, result: Json) -> Json:
        """The chip is as bad as its answers say, or as its accuracy said when that was measured."""
        chip_id = str(self._job.chip_id)
        self._keep_fingerprint(result, result["version"], result["score"])
        health = worse(ChipHealth(result["health"]), self._health_by_accuracy(chip_id))
        ChipRepository(self._session).set_health(chip_id, health, self._job.id, self._now)
        return {"health": health}

    def _keep_fingerprint(self, result: Json, version: int, score: float | None) -> None:
        probed = ProbeRecord(
            chip_id=str(self._job.chip_id),
            job_id=self._job.id,
            version=version,
            answer=result["fingerprint"],
            score=score,
            chip_time=float(result["fingerprint"]["chip_time_s"]),
        )
        FingerprintRepository(self._session).keep(probed, self._now)

    def _health_by_accuracy(self, chip_id: str) -> ChipHealth:
        chip = ChipRepository(self._session).get(chip_id)
        golden = StudentRepository(self._session).get(str(self._job.student_id)).accuracy["golden"]
        if chip.accuracy is None:
            return ChipHealth.UNKNOWN
        return health_by_accuracy(chip.accuracy, float(golden))

    def _keep_targets(self, blocks: dict[str, str], result: Json) -> Json:
        TargetSetRepository(self._session).set_ready(
            self._job.id, self._token, result | {"blocks": blocks}, blocks[Split.CALIBRATION]
        )
        return {}

    def _keep_student(self, sha256: str, result: Json) -> Json:
        student = StudentRepository(self._session).publish(
            self._job.id, self._token, sha256, result["rule"], result["accuracy"], self._now
        )
        return {"student_id": student.id}

    def _keep_weights(self, blocks: dict[str, str], result: Json, artifacts: ArtifactStore) -> Json:
        if "weights" not in blocks:
            return {"weights_version": None}
        publication = Publication(
            job_id=self._job.id,
            token=self._token,
            block=artifacts.read(blocks["weights"]),
            chip_time=float(result["chip_time_s"]),
            rule=result["rule"],
            observable=result["observable"],
            accuracy=result["accuracy"],
            fingerprint=result.get("fingerprint"),
            code_version=self._job.code_version,
        )
        version = WeightRepository(self._session).publish(publication, self._now)
        if publication.fingerprint is not None:
            self._keep_fingerprint(result, version.version, 0.0)
        return {"weights_version": version.version}

    def _measured(self, accuracy: float, result: Json) -> None:
        if self._job.chip_id is not None:
            health = ChipHealth(result.get("health", ChipHealth.UNKNOWN))
            chips = ChipRepository(self._session)
            chips.record_accuracy(self._job.chip_id, accuracy)
            chips.set_health(self._job.chip_id, health, self._job.id, self._now)

    def _tell(self, type: str, key: str, data: Json) -> None:
        job = self._job
        EventRepository(self._session).append(
            job.id, type, key, data, now=self._now, job_id=job.id, chip_id=job.chip_id
        )


def _without_rates(result: Json | None) -> Json | None:
    """They stand in the fingerprint's own row."""
    return result and {name: value for name, value in result.items() if name != "fingerprint"}
