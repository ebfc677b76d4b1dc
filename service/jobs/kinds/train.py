"""Training: make the golden student of a target set, in software."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator
from sqlalchemy.orm import Session

from ltl_core.network.spec import NetworkSpec
from ltl_core.presets import PRESETS, PresetName
from ltl_core.settings import TrainingSettings
from service.db.repositories.students import StudentRepository, TrainedStudent
from service.db.repositories.target_sets import TargetSetRepository
from service.db.tables import TargetSet
from service.formatting import percent
from service.jobs.kinds.context import JobContext, cancelled
from service.jobs.kinds.needed_memory import training_memory
from service.jobs.kinds.spec import TARGETS, JobKindSpec, JobSubject, ResultStore
from service.jobs.messages import Ended, Json
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import ResourceId
from service.schemas.jobs import Submission
from service.states import JobStatus, Split, TargetSetState

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.training.training import Training, TrainingCheckpoint


class TrainRequest(Submission):
    """Train the golden student of a target set, in software."""

    kind: Literal["train"]
    target_set_id: ResourceId
    preset: PresetName | None = None  # published settings, over which those given are laid
    settings: TrainingSettings = TrainingSettings()

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, Mapping) else None
        given = data.get("settings", {}) if isinstance(name, str) and name in PRESETS else None
        if not isinstance(given, Mapping):
            return data
        published = PRESETS[PresetName(str(name))].settings.model_dump(mode="json")
        return {**data, "settings": published | dict(given)}


def admit(session: Session, request: TrainRequest) -> JobSubject:
    """Find the target set, which must be ready.

    Raises TargetSetNotFoundError, TargetSetStateError and InvalidFieldsError.
    """
    sets = TargetSetRepository(session)
    target_set = sets.get_in(request.target_set_id, TargetSetState.READY)
    _check_frames(target_set, request.settings.neuron.steps)
    return JobSubject(teacher_id=target_set.teacher_id, target_set_id=target_set.id)


def train(context: JobContext) -> Ended:
    """Train the golden student; its accuracy is that on samples it was not trained on."""
    training = _training(context)
    for progress in training.epochs():
        context.report(progress)
        _keep(training.checkpoint(), context)
        if context.link.cancelled():
            raise cancelled("cancelled; nothing was kept")
    return _finished(training, context)


def store(to: ResultStore, ended: Ended) -> Json:
    """Publish the student. Raises AttemptSupersededError."""
    result = ended.result or {}
    trained = TrainedStudent(
        sha256=ended.blocks["student"],
        rule=result["rule"],
        reset=_settings(to.job.request).neuron.reset,
        accuracy=result["accuracy"],
    )
    student = StudentRepository(to.session).publish(to.job.id, to.token, trained, to.now)
    return result | {"student_id": student.id}


def verdict(result: Json) -> str:
    """Say how accurate the student is, beside its teacher."""
    accuracy = result.get("accuracy") or {}
    if "golden" not in accuracy:
        return ""
    teacher = accuracy.get("teacher")
    beside = "" if teacher is None else f", and its teacher {percent(teacher)}"
    return (
        f"The golden student has {percent(accuracy['golden'])} of the test samples right{beside}."
    )


def _check_frames(target_set: TargetSet, steps: int) -> None:
    frames = (target_set.summary or {}).get("frames")
    if frames and frames != steps:
        message = f"each sample has {frames} frames, so the window must have {frames} steps"
        raise InvalidFieldsError(FieldProblem("/settings/neuron/steps", message))


def _settings(request: Json) -> TrainingSettings:
    return TrainingSettings.model_validate(request.get("settings", {}))


def _training(context: JobContext) -> "Training":
    """Begin the training, or go on from the checkpoint of the attempt before."""
    from ltl_core.training.training import Training
    from service.jobs.kinds.targets import read_targets, read_weights

    network = NetworkSpec.model_validate(context.description.network)
    targets = read_targets(Split.CALIBRATION, context)
    weights = read_weights(context)
    settings = _settings(context.description.request)
    return Training(network, weights, targets, settings, _checkpoint(context))


def _checkpoint(context: JobContext) -> "TrainingCheckpoint | None":
    from ltl_core.packing import unpack
    from ltl_core.training.training import TrainingCheckpoint

    if context.description.checkpoint_sha256 is None:
        return None
    tensors, about = unpack(context.artifacts.read(context.description.checkpoint_sha256))
    return TrainingCheckpoint(tensors, int(about["epoch"]))


def _keep(checkpoint: "TrainingCheckpoint", context: JobContext) -> None:
    from ltl_core.packing import pack

    metadata = {"epoch": str(checkpoint.epoch)} | context.owner
    context.checkpoint(pack(checkpoint.tensors, metadata), checkpoint.epoch)


def _finished(training: "Training", context: JobContext) -> Ended:
    """Measure the student on the test split and count its operations."""
    from ltl_core.student.evaluate import student_quality
    from ltl_core.student.operations import count_operations
    from service.jobs.kinds.targets import read_targets

    test = read_targets(Split.TEST, context)
    quality = student_quality(training.student, test)
    operations = count_operations(training.student, test)
    golden = dict(context.description.accuracy or {}) | {"golden": quality.accuracy}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "accuracy": golden,
            "rate_error": list(quality.rate_error),
            "effort": operations._asdict() | {"ratio": operations.ratio},
            "rule": _settings(context.description.request).rule,
            "test_samples": test.size,
        },
        blocks={"student": context.artifacts.put(training.student.to_block())},
    )


KIND = JobKindSpec(
    name="train",
    noun="Training of the golden student",
    request=TrainRequest,
    needs_chip=False,
    admit=admit,
    work=train,
    loads=("ltl_core.training.training", "ltl_core.student.operations", TARGETS),
    store=store,
    verdict=verdict,
    memory=training_memory,
)
