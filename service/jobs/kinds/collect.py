"""Collecting: run a teacher over the samples of a target set. The service asks for it by itself."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from ltl_core.network.spec import NetworkSpec
from ltl_core.progress import Phase, Progress
from service.db.repositories.target_sets import TargetSetRepository
from service.db.tables import TargetSet
from service.errors import ChunksMissingError, SplitMissingError
from service.jobs.kinds.context import JobContext
from service.jobs.kinds.needed_memory import collecting_memory
from service.jobs.kinds.spec import TARGETS, JobKindSpec, JobSubject, ResultStore
from service.jobs.messages import Ended, Json
from service.schemas.base import Request, ResourceId
from service.schemas.jobs import Submission
from service.states import JobStatus, Split, TargetSetState

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.teaching.targets import TargetSet as CollectedTargets


class CollectSettings(Request):
    """How the layers' scales are measured."""

    percentile: float = Field(default=99.0, gt=0, le=100)  # of the activations, taken as full scale


class CollectRequest(Submission):
    """Run the teacher of a target set over its samples, once all have arrived."""

    kind: Literal["collect"] = "collect"
    target_set_id: ResourceId
    settings: CollectSettings = CollectSettings()


def request_for(target_set: TargetSet) -> CollectRequest:
    """Make the request that a complete target set stands for."""
    return CollectRequest(
        target_set_id=target_set.id, settings=CollectSettings(percentile=target_set.percentile)
    )


def admit(session: Session, request: CollectRequest) -> JobSubject:
    """Begin to collect a set whose samples have all arrived, or one that failed before.

    Raises TargetSetNotFoundError, TargetSetStateError, ChunksMissingError and SplitMissingError.
    """
    sets = TargetSetRepository(session)
    target_set = sets.get(request.target_set_id)
    if target_set.state != TargetSetState.UPLOADING:
        target_set = sets.get_in(target_set.id, TargetSetState.FAILED)
    _check_complete(session, target_set)
    sets.set_state(target_set.id, TargetSetState.COLLECTING)
    return JobSubject(teacher_id=target_set.teacher_id, target_set_id=target_set.id)


def collect(context: JobContext) -> Ended:
    """Collect the teacher's activations, scaled on the calibration split alone."""
    from ltl_core.teaching import teacher
    from service.jobs.kinds.targets import read_samples, read_weights

    network = NetworkSpec.model_validate(context.description.network)
    weights = read_weights(context)
    samples = {split: read_samples(split, context) for split in Split}
    context.report(Progress(Phase.COLLECTING, 0, len(samples)))
    percentile = context.description.percentile or 99.0
    first = teacher.collect(network, weights, samples[Split.CALIBRATION], percentile=percentile)
    second = teacher.collect(network, weights, samples[Split.TEST], scales=first.scales)
    targets = {Split.CALIBRATION: first, Split.TEST: second}
    accuracy = {
        split: teacher.teacher_accuracy(network, weights, part) for split, part in samples.items()
    }
    context.report(Progress(Phase.COLLECTING, len(samples), len(samples)))
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "samples": {split: part.size for split, part in targets.items()},
            "scales": dict(first.scales),
            "teacher_accuracy": accuracy,
            "frames": _frames(network, first),
            "labels": first.samples.labels is not None,
        },
        blocks={split: context.artifacts.put(part.to_block()) for split, part in targets.items()},
    )


def store(to: ResultStore, ended: Ended) -> Json:
    """Make the target set ready, with what was found. Raises AttemptSupersededError."""
    result = ended.result or {}
    summary = result | {"blocks": ended.blocks}
    activations = ended.blocks[Split.CALIBRATION]
    TargetSetRepository(to.session).set_ready(to.job.id, to.token, summary, activations)
    return result


def _check_complete(session: Session, target_set: TargetSet) -> None:
    chunks = TargetSetRepository(session).chunks(target_set.id)
    arrived = {chunk.index for chunk in chunks}
    if missing := [index for index in range(target_set.chunks) if index not in arrived]:
        raise ChunksMissingError(missing)
    for split in Split:
        if not any(chunk.split == split and chunk.samples for chunk in chunks):
            raise SplitMissingError(split)


def _frames(network: NetworkSpec, targets: "CollectedTargets") -> int | None:
    """Return how many frames each sample has; None where samples are still inputs."""
    shape = targets.samples.inputs.shape[1:]
    return shape[0] if len(shape) > len(network.input_shape) else None


KIND = JobKindSpec(
    name="collect",
    noun="Collection of activations",
    request=CollectRequest,
    needs_chip=False,
    admit=admit,
    work=collect,
    loads=("ltl_core.teaching.teacher", TARGETS),
    store=store,
    accepted=False,
    memory=collecting_memory,
)
