"""Collecting: the activations of a teacher for the samples of a target set, as target rates.

The service runs the teacher, or takes what was uploaded if it does not have the teacher's weights.
It asks for such a job by itself.
"""

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
    from ltl_core.teaching.targets import Samples
    from ltl_core.teaching.targets import TargetSet as CollectedTargets
    from ltl_core.teaching.teacher import TeacherOutput

_FITTED = "weights"  # the block of the weights that were fitted


class CollectSettings(Request):
    """How the layers' scales are measured."""

    percentile: float = Field(default=99.0, gt=0, le=100)  # of the activations, taken as full scale


class CollectRequest(Submission):
    """Take the activations of a teacher for the samples of a set, once all have arrived."""

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
    """Collect the teacher's activations, scaled on the calibration split alone.

    Those of a teacher whose weights are not here were uploaded; weights are fitted to them. Raises
    ForeignActivationsError for activations that its network cannot have computed.
    """
    from ltl_core.teaching import teacher

    network = NetworkSpec.model_validate(context.description.network)
    percentile = context.description.percentile or 99.0
    targets: dict[Split, CollectedTargets] = {}
    accuracy: dict[Split, float] = {}
    context.report(Progress(Phase.COLLECTING, 0, len(Split)))
    for split in (Split.CALIBRATION, Split.TEST):
        samples, output = _answers(network, split, context)
        scales = targets[Split.CALIBRATION].scales if targets else None
        targets[split] = teacher.as_targets(samples, output, percentile=percentile, scales=scales)
        accuracy[split] = teacher.accuracy_of_output(samples, output.logits)
    first = targets[Split.CALIBRATION]
    result: Json = {
        "samples": {split: part.size for split, part in targets.items()},
        "scales": dict(first.scales),
        "teacher_accuracy": accuracy,
        "frames": _frames(network, first),
        "labels": first.samples.labels is not None,
    }
    blocks = {str(split): context.artifacts.put(part.to_block()) for split, part in targets.items()}
    if context.description.weights_sha256 is None:
        blocks[_FITTED], result["unexplained"] = _fitted(network, first, context)
    context.report(Progress(Phase.COLLECTING, len(Split), len(Split)))
    return Ended(status=JobStatus.SUCCEEDED, result=result, blocks=blocks)


def store(to: ResultStore, ended: Ended) -> Json:
    """Make the target set ready, with what was found. Raises AttemptSupersededError."""
    result, blocks = ended.result or {}, dict(ended.blocks)
    if (fitted := blocks.pop(_FITTED, None)) is not None:
        result = result | {"fitted_weights_sha256": fitted}
    activations = blocks[Split.CALIBRATION]
    summary = result | {"blocks": blocks}
    TargetSetRepository(to.session).set_ready(to.job.id, to.token, summary, activations)
    return result


def _answers(
    network: NetworkSpec, split: Split, context: JobContext
) -> "tuple[Samples, TeacherOutput]":
    """Return the samples of a split, with what the teacher makes of them, or made of them."""
    from ltl_core.teaching.teacher import run_over
    from service.jobs.kinds.targets import read_answers, read_samples, read_weights

    if context.description.weights_sha256 is None:
        return read_answers(network, split, context)
    samples = read_samples(split, context)
    return samples, run_over(network, read_weights(context), samples.inputs)


def _fitted(
    network: NetworkSpec, targets: "CollectedTargets", context: JobContext
) -> tuple[str, dict[str, float]]:
    """Fit weights to the activations; return their block, and what is left by layer."""
    from ltl_core.packing import pack
    from ltl_core.teaching.fitting import fit_weights

    found = fit_weights(network, targets)
    left = {name: round(fraction, 6) for name, fraction in found.unexplained.items()}
    return context.artifacts.put(pack(found.weights)), left


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
    loads=("ltl_core.teaching.teacher", "ltl_core.teaching.fitting", TARGETS),
    store=store,
    accepted=False,
    memory=collecting_memory,
)
