"""Readers of the artifact store for jobs: a teacher's weights, samples, target sets."""

import torch

from ltl_core.calibration.watch import WatchedSamples, watched_samples
from ltl_core.errors import SettingError
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import unpack
from ltl_core.student.student import Student
from ltl_core.teaching.checking import ACTIVATION, LOGITS
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import TeacherOutput
from service.jobs.kinds.context import JobContext
from service.states import Split


def read_targets(split: Split, context: JobContext) -> TargetSet:
    """Open one split as the `collect` job stored it; samples are read when they are needed."""
    return TargetSet.from_file(context.artifacts.checked_file(context.description.targets[split]))


def read_watched(student: Student, context: JobContext) -> WatchedSamples:
    """Read the samples on which a chip with this golden student is watched."""
    return watched_samples(student, read_targets(Split.TEST, context))


def read_weights(context: JobContext) -> dict[str, torch.Tensor]:
    """Read the teacher's weights, as float32. Raises ValueError for a job without a teacher."""
    sha256 = context.description.weights_sha256
    if sha256 is None:
        raise ValueError(f"A job of kind {context.description.kind} needs the teacher's weights.")
    tensors, _ = unpack(context.artifacts.read(sha256))
    return {name: tensor.float() for name, tensor in tensors.items()}


def read_samples(split: Split, context: JobContext) -> Samples:
    """Join the uploaded chunks of one split. Raises SettingError where they do not fit together."""
    return _samples(split, _blocks(split, context))


def read_answers(
    network: NetworkSpec, split: Split, context: JobContext
) -> tuple[Samples, TeacherOutput]:
    """Join samples with the activations that a teacher made of them, as they were uploaded.

    Raises SettingError where chunks do not fit together.
    """
    blocks = _blocks(split, context)
    samples = _samples(split, blocks)
    activations = {
        name: _joined(name, [block.pop(f"{ACTIVATION}{name}").float() for block in blocks])
        for name in network.activation_shapes
    }
    logits = _joined(LOGITS, [block.pop(LOGITS).float() for block in blocks])
    return samples, TeacherOutput(activations, logits)


def _blocks(split: Split, context: JobContext) -> list[dict[str, torch.Tensor]]:
    return [
        unpack(context.artifacts.read(chunk.sha256))[0]
        for chunk in context.description.chunks
        if chunk.split == split
    ]


def _samples(split: Split, blocks: list[dict[str, torch.Tensor]]) -> Samples:
    inputs = _joined("inputs", [block["inputs"].float() for block in blocks])
    labels = [_label(block["labels"]) for block in blocks if "labels" in block]
    if len(labels) not in (0, len(blocks)):
        raise SettingError(
            f"{len(blocks) - len(labels)} of the {len(blocks)} chunks of the split '{split}' hold "
            "no labels: give them with all samples, or with none."
        )
    return Samples(inputs, _joined("labels", labels) if labels else None)


def _label(labels: torch.Tensor) -> torch.Tensor:
    """Return classes as integers, values as float32."""
    return labels.float() if labels.is_floating_point() else labels.long()


def _joined(name: str, parts: list[torch.Tensor]) -> torch.Tensor:
    """Join chunk after chunk. Raises SettingError where they differ in shape or type."""
    kinds = {(tuple(part.shape[1:]), part.dtype) for part in parts}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{list(shape)} {dtype}" for shape, dtype in kinds))
        raise SettingError(f"The chunks' {name} do not fit together: they are {found}.")
    return torch.cat(parts)
