"""Activations in other people's styles."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.unit.ltl_core.interop.styles import Style, conv, linear, style


def _bounded(bound: Callable[[Tensor], Tensor]) -> Style:
    return style(lambda m, x: m.fc(bound(m.c(x)).flatten(1)), c=conv(), fc=linear(144))


ACTIVATIONS = {
    "relu": _bounded(torch.relu),
    "method": _bounded(lambda x: x.relu()),
    "in place": _bounded(lambda x: x.relu_()),
    "relu6": _bounded(F.relu6),
    "hardtanh": _bounded(lambda x: F.hardtanh(x, 0, 0.4)),
    "clamp": _bounded(lambda x: x.clamp(0, 0.4)),
    "clamp by name": _bounded(lambda x: torch.clamp(x, min=0, max=0.4)),
    "clip": _bounded(lambda x: x.clip(min=0, max=0.4)),
    "clamp from below": _bounded(lambda x: x.clamp(min=0)),
    "clamp_min": _bounded(lambda x: x.clamp_min(0)),
    "relu, then ceiling": _bounded(lambda x: F.relu(x).clamp(max=0.4)),
    "relu, then a wider clamp": _bounded(lambda x: F.relu(x).clamp(-1, 0.4)),
    "ceiling of one of two readers": _bounded(
        lambda x: F.relu((y := F.relu(x)) + 0.5 * y.clamp(max=0.4))
    ),
    "ceiling of a pool": style(
        lambda m, x: m.fc(F.avg_pool2d(F.relu(m.c(x)), 2).clamp(max=0.2).flatten(1)),
        c=conv(),
        fc=linear(36),
    ),
    "threshold": _bounded(lambda x: F.threshold(x, 0, 0)),
    "rectified twice": _bounded(lambda x: F.relu(F.relu(x))),
    "relu of a pool": style(
        lambda m, x: m.fc(F.relu(F.avg_pool2d(F.relu(m.c(x)), 2)).clamp(max=0.2).flatten(1)),
        c=conv(),
        fc=linear(36),
    ),
}
