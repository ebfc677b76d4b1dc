"""The description that a job's child process is given, made from the job's rows."""

import os
from datetime import datetime

from sqlalchemy.orm import Session

from service.bench.chip_ref import ChipRef
from service.db.agent_tables import Agent
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.tables import Chip, Job
from service.errors import AgentSecretError
from service.jobs.kinds.memory import limit_of
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.messages import ChunkRef, ExecutorConfig, JobDescription, Json
from service.networks import PRIVATE
from service.schemas.agents import AgentLimits
from service.secret_cipher import SecretCipher
from service.settings import Settings
from service.states import Split


def executor_config(settings: Settings) -> ExecutorConfig:
    """Return the settings of an executor that every child process gets."""
    cores = os.cpu_count() or 1
    return ExecutorConfig(
        artifacts_dir=str(settings.artifacts_dir),
        threads=settings.job_threads or max(1, cores // settings.parallel_jobs),
        patience_s=settings.database_patience_s,
        memory_bytes=limit_of(settings),
        chip_backends=settings.chip_backends,
        agent_networks=PRIVATE if settings.agent_networks is None else settings.agent_networks,
        agent_ca=None if settings.agent_ca is None else str(settings.agent_ca.absolute()),
        agent_answer_max_s=settings.agent_answer_max_s,
        # So long a job looks for an agent at least: then a stopped one counts as silent.
        agent_reach_min_s=settings.agent_silence_s + settings.agent_heartbeat_s,
        agent_reach_max_s=settings.agent_reach_max_s,
    )


class Describer:
    """Reads what a job needs. `aging` is how many seconds a simulated chip ages in one second."""

    def __init__(
        self,
        session: Session,
        config: ExecutorConfig,
        aging: float,
        cipher: SecretCipher,
        kinds: JobKinds = KINDS,
    ) -> None:
        self._session = session
        self._cipher = cipher
        self._kinds = kinds
        self._config = config
        self._aging = aging

    def describe(self, job: Job, now: datetime) -> JobDescription:
        """Describe the job.

        Raises NotFoundError where something that it needs is gone, AgentSecretError where the
        secret of its chip's agent cannot be decrypted.
        """
        kind = self._kinds[job.kind]
        whole = {
            "config": self._config,
            "job_id": job.id,
            "kind": job.kind,
            "work": kind.work_address,
            "attempt": job.attempt,
            "request": job.request,
            "checkpoint_sha256": job.checkpoint_sha256,
            "elapsed_s": float((job.spent or {}).get("seconds", 0.0)),
        }
        whole |= self._targets(job) | self._teacher(job) | kind.inputs(self._session, job)
        return JobDescription(**whole, chip=self._chip(job, now))

    def _teacher(self, job: Job) -> Json:
        if job.teacher_id is None:
            return {}
        teacher = TeacherRepository(self._session).get(job.teacher_id)
        found: Json = {"network": teacher.network}
        if teacher.weights_sha256 is not None:
            found["weights_sha256"] = teacher.weights_sha256
        return found

    def _targets(self, job: Job) -> Json:
        if job.target_set_id is None:
            return {}
        sets = TargetSetRepository(self._session)
        target_set = sets.get(job.target_set_id)
        chunks = tuple(
            ChunkRef(split=Split(chunk.split), sha256=chunk.sha256)
            for chunk in sets.chunks(job.target_set_id)
        )
        summary = target_set.summary or {}
        return {
            "weights_sha256": summary.get("fitted_weights_sha256"),
            "chunks": chunks,
            "percentile": target_set.percentile,
            "targets": summary.get("blocks", {}),
            "accuracy": {"teacher": summary.get("teacher_accuracy", {}).get(Split.TEST)},
        }

    def _chip(self, job: Job, now: datetime) -> ChipRef | None:
        if job.chip_id is None or job.token is None:
            return None
        chip = ChipRepository(self._session).get(job.chip_id)
        idle = (now - chip.state_saved_at).total_seconds() if chip.state_saved_at else 0.0
        return ChipRef(
            chip_id=chip.id,
            backend=chip.backend,
            settings=chip.settings | self._address(chip),
            state_sha256=chip.state_sha256,
            idle_s=max(0.0, idle) * self._aging,
            token=job.token,
            seconds_per_second=self._aging,
        )

    def _address(self, chip: Chip) -> Json:
        """Return where the chip's agent answers, and the secret that proves both ends."""
        agent = AgentRepository(self._session).of_chip(chip.id)
        if agent is None:
            return {}
        return agent_settings(agent, self._config, self._cipher)


def agent_settings(agent: Agent, config: ExecutorConfig, cipher: SecretCipher) -> Json:
    """Return an agent's address with its limits, which are held within our own.

    Raises AgentSecretError if its secret cannot be decrypted.
    """
    secret = cipher.decrypt(agent.encrypted_secret)
    if secret is None:
        raise AgentSecretError(agent.id)
    asked = AgentLimits.model_validate(agent.limits)
    reach_s = max(config.agent_reach_min_s, min(asked.reach_s, config.agent_reach_max_s))
    return {
        "url": agent.url,
        "secret": secret,
        "signed": agent.signed,
        "answer_s": min(asked.answer_s, config.agent_answer_max_s),
        "reach_s": reach_s,
        "networks": config.agent_networks,
        "ca": config.agent_ca,
    }
