"""Make the teacher of the moving digits: `python -m tests.data.make_motion`.

Another processor makes other weights; the tests must pass with those too.
"""

from pathlib import Path

import torch
from torch import nn

from ltl_core.interop.from_torch import from_torch
from ltl_core.packing import pack
from ltl_core.teaching.targets import Samples
from tests.motion import averaged, sequences

TEACHER = Path(__file__).parent / "motion-teacher.safetensors"


def main() -> None:
    """Write the file."""
    torch.manual_seed(0)
    teacher = from_torch(trained_module(averaged(sequences(0, 120))), (2, 8, 16))
    TEACHER.write_bytes(pack(teacher.weights, {"network": teacher.network.model_dump_json()}))


def trained_module(samples: Samples) -> nn.Module:
    """One convolution and a readout, trained on what the sequences are on average."""
    labels = samples.labels
    assert labels is not None
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Hardtanh(0, 2),
        nn.Flatten(),
        nn.Linear(256, 2),
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(samples.inputs), labels).backward()
        optimizer.step()
    return module.eval()


if __name__ == "__main__":
    main()
