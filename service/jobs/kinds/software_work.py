"""Work without a chip: run a teacher over its samples, train the golden student."""

from collections.abc import Iterable

import torch

from ltl_core.errors import SettingError
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import pack, unpack
from ltl_core.progress import Phase, Progress
from ltl_core.settings import TrainingSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.student.operations import count_operations
from ltl_core.teaching import teacher
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.training.training import Training, TrainingCheckpoint
from service.jobs.kinds.context import Workbench
from service.jobs.kinds.outcome import cancelled
from service.jobs.messages import ChunkRef, Ended, JobDescription, Json
from service.states import JobStatus, Split


def collect(description: JobDescription, workbench: Workbench) -> Ended:
    """Activations of the teacher, scaled on the calibration split alone."""
    network = NetworkSpec.model_validate(description.network)
    weights = _weights(description, workbench)
    samples = {split: _samples(split, description.chunks, workbench) for split in Split}
    _tell(workbench, Progress(Phase.COLLECTING, 0, len(samples)))
    percentile = description.percentile or 99.0
    first = teacher.collect(network, weights, samples[Split.CALIBRATION], percentile=percentile)
    second = teacher.collect(network, weights, samples[Split.TEST], scales=first.scales)
    targets = {Split.CALIBRATION: first, Split.TEST: second}
    accuracy = {
        split: teacher.teacher_accuracy(network, weights, part) for split, part in samples.items()
    }
    _tell(workbench, Progress(Phase.COLLECTING, len(samples), len(samples)))
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "samples": {split: part.size for split, part in targets.items()},
            "scales": dict(first.scales),
            "teacher_accuracy": accuracy,
            "frames": _frames(network, first),
            "labels": first.samples.labels is not None,
        },
        blocks={split: workbench.artifacts.put(part.to_block()) for split, part in targets.items()},
    )


def _frames(network: NetworkSpec, targets: TargetSet) -> int | None:
    """How many each sample has, where it is a sequence."""
    shape = targets.samples.inputs.shape[1:]
    return shape[0] if len(shape) > len(network.input_shape) else None


def train(description: JobDescription, workbench: Workbench) -> Ended:
    """The golden student; its accuracy is that on samples it was not trained on."""
    settings = TrainingSettings.model_validate(description.request.get("settings", {}))
    network = NetworkSpec.model_validate(description.network)
    targets = read_targets(Split.CALIBRATION, description, workbench)
    training = Training(
        network,
        _weights(description, workbench),
        targets,
        settings,
        _training_checkpoint(description, workbench),
    )
    for progress in training.epochs():
        _tell(workbench, progress)
        kept = training.checkpoint()
        workbench.checkpoint(pack(kept.tensors, {"epoch": str(kept.epoch)}), kept.epoch)
        if workbench.link.cancelled():
            raise cancelled("cancelled; nothing was kept")
    test = read_targets(Split.TEST, description, workbench)
    quality = student_quality(training.student, test)
    operations = count_operations(training.student, test)
    golden = dict(description.accuracy or {}) | {"golden": quality.accuracy}
    return Ended(
        status=JobStatus.SUCCEEDED,
        result={
            "accuracy": golden,
            "rate_error": list(quality.rate_error),
            "effort": operations._asdict() | {"ratio": operations.ratio},
            "rule": settings.rule,
            "test_samples": test.size,
        },
        blocks={"student": workbench.artifacts.put(training.student.to_block())},
    )


def read_targets(split: Split, description: JobDescription, workbench: Workbench) -> TargetSet:
    """One split as `collect` stored it."""
    return TargetSet.from_block(workbench.artifacts.read(description.targets[split]))


def _weights(description: JobDescription, workbench: Workbench) -> dict[str, torch.Tensor]:
    if description.weights_sha256 is None:
        raise ValueError(f"A job of kind {description.kind} needs the teacher's weights.")
    tensors, _ = unpack(workbench.artifacts.read(description.weights_sha256))
    return {name: tensor.float() for name, tensor in tensors.items()}


def _samples(split: Split, chunks: Iterable[ChunkRef], workbench: Workbench) -> Samples:
    blocks = [
        unpack(workbench.artifacts.read(chunk.sha256))[0]
        for chunk in chunks
        if chunk.split == split
    ]
    inputs = _joined("inputs", [block["inputs"].float() for block in blocks])
    labels = [_label(block["labels"]) for block in blocks if "labels" in block]
    if len(labels) not in (0, len(blocks)):
        raise SettingError(
            f"{len(blocks) - len(labels)} of the {len(blocks)} chunks of the split '{split}' hold "
            "no labels: give them with all samples, or with none."
        )
    return Samples(inputs, _joined("labels", labels) if labels else None)


def _label(labels: torch.Tensor) -> torch.Tensor:
    """Classes, or values."""
    return labels.float() if labels.is_floating_point() else labels.long()


def _joined(name: str, parts: list[torch.Tensor]) -> torch.Tensor:
    """Chunk after chunk. Raises SettingError where they are of different kinds."""
    kinds = {(tuple(part.shape[1:]), part.dtype) for part in parts}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{list(shape)} {dtype}" for shape, dtype in kinds))
        raise SettingError(f"The chunks' {name} do not fit together: they are {found}.")
    return torch.cat(parts)


def _training_checkpoint(
    description: JobDescription, workbench: Workbench
) -> TrainingCheckpoint | None:
    if description.checkpoint_sha256 is None:
        return None
    tensors, about = unpack(workbench.artifacts.read(description.checkpoint_sha256))
    return TrainingCheckpoint(tensors, int(about["epoch"]))


def _tell(workbench: Workbench, progress: Progress) -> None:
    workbench.progress(*as_json(progress))


def as_json(progress: Progress) -> tuple[Json, Json]:
    """The progress and what was spent, as the API shows them."""
    told = progress._asdict()
    spent = told.pop("spent")._asdict()
    return told | {"rate_error": list(progress.rate_error)}, spent
