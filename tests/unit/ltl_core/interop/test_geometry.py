"""Padding keeps groups apart, pools keep their divisor, and lines of a module are found."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltl_core.errors import UnsupportedLayerError
from ltl_core.interop.from_torch import Imported, from_torch
from ltl_core.teaching.teacher import run_teacher
from tests.unit.ltl_core.interop.styles import conv, linear, style

SHAPE = (4, 8, 8)


@pytest.mark.parametrize("groups", [4, 2, 1])  # the last is the control: it is dense
@pytest.mark.parametrize("pad", [(1, 2, 2, 1), (1, 1)])
def test_padding_keeps_the_groups_of_the_convolution_behind_it(
    groups: int, pad: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    high, wide = 6 + sum(pad[2:]), 6 + sum(pad[:2])
    padded = style(
        lambda m, x: m.fc(F.relu(m.c(F.pad(x, pad))).flatten(1)),
        c=conv(4, 8, groups=groups),
        fc=linear(8 * high * wide),
    )
    module = padded.make()
    imported = from_torch(module, SHAPE)
    assert imported.weights["c.weight"].shape[1] == 4 // groups
    assert _agrees(module, imported, SHAPE)


def test_an_uneven_pool_keeps_its_divisor() -> None:
    torch.manual_seed(0)
    pool = style(
        lambda m, x: m.fc(F.avg_pool2d(x, 3, 2, 0, ceil_mode=True, divisor_override=2).flatten(1)),
        fc=linear(4 * 16),
    )
    module = pool.make()
    assert _agrees(module, from_torch(module, SHAPE), SHAPE)


def test_a_line_of_a_package_whose_name_only_begins_like_torch_is_named() -> None:
    source = "def forward(m, x):\n    return x.flatten(1).cumsum(1)\n"
    found: dict[str, Any] = {}
    for package in ("torchvision", "torch"):
        file = Path(torch.__file__).parents[1] / package / "net.py"
        exec(compile(source, str(file), "exec"), found)
        module = type("Net", (nn.Module,), {"forward": found["forward"]})()
        with pytest.raises(UnsupportedLayerError) as caught:
            from_torch(module, SHAPE)
        assert ("net.py line 2" in str(caught.value)) is (package == "torchvision")


def _agrees(module: nn.Module, imported: Imported, shape: tuple[int, ...]) -> bool:
    inputs = torch.rand(3, *shape)
    found = run_teacher(imported.network, imported.weights, inputs).logits
    return torch.allclose(found, module(inputs), rtol=1e-4, atol=1e-5)
