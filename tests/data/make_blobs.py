"""Make the teacher of the blobs and its golden student: `python -m tests.data.make_blobs`.

Another processor makes other weights; the tests must pass with those too.
"""

import torch
from torch import nn

from ltl_core.interop.from_torch import Imported, from_torch
from ltl_core.packing import pack
from ltl_core.settings import TrainingSettings
from ltl_core.student.student import Student
from ltl_core.training.training import Training
from tests.blobs import CLASSES, SIDE, STUDENT, TEACHER, blobs, collected


def main() -> None:
    """Write both files."""
    torch.manual_seed(0)
    teacher = from_torch(trained_module(), (1, SIDE, SIDE))
    TEACHER.write_bytes(pack(teacher.weights, {"network": teacher.network.model_dump_json()}))
    STUDENT.write_bytes(golden_student(teacher).to_block())


def trained_module() -> nn.Module:
    """Convolution, pooling, two linear layers; trained on the blobs."""
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.Hardtanh(0.0, 2.0),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    )
    samples = blobs(400, seed=1)
    labels = samples.labels
    assert labels is not None
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(samples.inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


def golden_student(teacher: Imported) -> Student:
    """Trained for five epochs with the default rule."""
    targets, _ = collected(*teacher)
    training = Training(*teacher, targets, TrainingSettings(epochs=5))
    for _ in training.epochs():
        pass
    return training.student


if __name__ == "__main__":
    main()
