"""Modules in the styles that people write them, each with what the import makes of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Style(NamedTuple):
    """A module, the shape of its input, and the words of its refusal; None: it is imported."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 8, 8)
    refused: str | None = None
    note: str | None = None  # words of a note of the import


Forward = Callable[[Any, Tensor], Any]


class Written(nn.Module):
    """A module of a few layers, and its forward."""

    def __init__(self, work: Forward, **layers: nn.Module | Tensor) -> None:
        super().__init__()
        self.work = work
        for name, layer in layers.items():
            if isinstance(layer, nn.Module | nn.Parameter):
                setattr(self, name, layer)
            else:
                self.register_buffer(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.work(self, x)


def style(work: Forward, shape: tuple[int, ...] = (3, 8, 8), /, **layers: Any) -> Style:
    """Return an accepted style; layers are made anew by each call of `make`."""
    return Style(lambda: Written(work, **{n: make() for n, make in layers.items()}), shape)


def conv(rows: int = 3, columns: int = 4, kernel: Any = 3, **more: Any) -> Callable[[], nn.Module]:
    """Return a maker of a convolution."""
    return lambda: nn.Conv2d(rows, columns, kernel, **more)


def linear(rows: int, columns: int = 5) -> Callable[[], nn.Module]:
    """Return a maker of a matrix."""
    return lambda: nn.Linear(rows, columns)


def norm(channels: int = 4, **more: Any) -> Callable[[], nn.Module]:
    """Return a maker of a norm for images."""
    return lambda: nn.BatchNorm2d(channels, **more)


def _head(flatten: Callable[[Tensor], Tensor]) -> Style:
    return style(lambda m, x: m.fc(flatten(F.relu(m.c(x)))), c=conv(), fc=linear(4 * 36))


def chain(*layers: Callable[[], nn.Module], shape: tuple[int, ...] = (3, 8, 8)) -> Style:
    """Return an accepted style of layers, one after another."""
    return Style(lambda: nn.Sequential(*[make() for make in layers]), shape)


def _activation(make: Callable[[], nn.Module]) -> Style:
    return chain(conv(), make, nn.Flatten, linear(4 * 36))


FLATTEN = {
    "view to a number": _head(lambda x: x.view(-1, 4 * 6 * 6)),
    "view of the batch": _head(lambda x: x.view(x.size(0), 144)),
    "view of len": _head(lambda x: x.view(len(x), -1)),
    "view of shape": _head(lambda x: x.reshape(x.shape[0], -1)),
    "flatten by name": _head(lambda x: x.flatten(start_dim=1)),
    "torch.flatten": _head(lambda x: torch.flatten(x, 1)),
    "flatten, then split and join": _head(lambda x: x.flatten(2).flatten(1)),
    "channels last": _head(lambda x: x.permute(0, 2, 3, 1).reshape(len(x), -1)),
    "flatten before the activation": style(
        lambda m, x: m.fc(F.relu(m.c(x).flatten(1))), c=conv(), fc=linear(144)
    ),
    "squeeze": style(
        lambda m, x: m.fc(F.adaptive_avg_pool2d(F.relu(m.c(x)), 1).squeeze(-1).squeeze(-1)),
        c=conv(),
        fc=linear(4),
    ),
    "squeeze of all": style(
        lambda m, x: m.fc(F.relu(m.c(x)).mean((2, 3), keepdim=True).squeeze()),
        c=conv(),
        fc=linear(4),
    ),
    "unflatten of a flat input": chain(
        lambda: nn.Unflatten(1, (1, 4, 4)),
        conv(1),
        nn.ReLU,
        nn.Flatten,
        linear(16),
        shape=(16,),
    )._replace(note="reshape samples"),
    "there and back": style(
        lambda m, x: m.fc(
            F.relu(m.d(F.relu(m.c(x)).flatten(1).unflatten(1, (4, 6, 6)))).flatten(1)
        ),
        c=conv(),
        d=conv(4, 2),
        fc=linear(32),
    ),
}

END = {
    "softmax": chain(nn.Flatten, linear(192), lambda: nn.Softmax(1))._replace(note="Softmax"),
    "softmax without dim": chain(nn.Flatten, linear(192), nn.LogSoftmax),
    "log_softmax": style(
        lambda m, x: F.log_softmax(m.fc(x.flatten(1)), dim=-1), fc=linear(192)
    )._replace(note="log_softmax"),
    "sigmoid": style(lambda m, x: m.fc(x.flatten(1)).sigmoid(), fc=linear(192)),
    "dict": style(lambda m, x: {"out": m.fc(x.flatten(1))}, fc=linear(192)),
    "tuple": style(lambda m, x: (m.fc(x.flatten(1)),), fc=linear(192)),
    "classes by 1x1 convolution": style(
        lambda m, x: m.d(F.relu(m.c(x))).mean((2, 3)), c=conv(), d=conv(4, 5, 1)
    ),
    "classes by 3x3 convolution": style(
        lambda m, x: m.pool(m.d(F.relu(m.c(x)))).flatten(1),
        c=conv(),
        d=conv(4, 5, padding=1),
        pool=lambda: nn.AdaptiveAvgPool2d(1),
    ),
    "average of rates": style(
        lambda m, x: F.relu(m.d(F.relu(m.c(x)))).mean((2, 3)), c=conv(), d=conv(4, 5, 1)
    ),
    "no flatten": style(
        lambda m, x: m.d(F.adaptive_avg_pool2d(F.relu(m.c(x)), 1)), c=conv(), d=conv(4, 5, 1)
    ),
    "one output without a dimension": style(
        lambda m, x: m.fc(x.flatten(1)).squeeze(1), fc=linear(192, 1)
    ),
    "scaled logits": style(lambda m, x: m.fc(x.flatten(1)) / 0.07, fc=linear(192)),
}

_MEAN, _STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])


class Normalize(nn.Module):
    """torchvision's Normalize, as far as a module sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = _MEAN.tolist(), _STD.tolist()

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(x)}")
        return (x - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


BEGINNING = {
    "constants": style(
        lambda m, x: m.fc(F.relu(m.c((x - 0.5) / 0.25)).flatten(1)), c=conv(), fc=linear(144)
    ),
    "buffers": style(
        lambda m, x: m.fc(F.relu(m.c((x - m.mean) / m.std)).flatten(1)),
        c=conv(),
        fc=linear(144),
        mean=lambda: _MEAN.view(1, 3, 1, 1),
        std=lambda: _STD.view(1, 3, 1, 1),
    ),
    "in front of padding": style(
        lambda m, x: m.fc(F.relu(m.c((x - m.mean) / m.std)).flatten(1)),
        c=conv(padding=1),
        fc=linear(256),
        mean=lambda: _MEAN.view(3, 1, 1),
        std=lambda: _STD.view(3, 1, 1),
    ),
    "Normalize": chain(Normalize, conv(padding=1), nn.ReLU, nn.Flatten, linear(256)),
    "flat pixels of one channel": style(
        lambda m, x: m.fc(F.relu(m.c(((x - 0.13) / 0.3).view(-1, 1, 8, 8))).flatten(1)),
        (64,),
        c=conv(1, 4, padding=1),
        fc=linear(256),
    ),
    "2 x - 1": style(
        lambda m, x: m.fc(F.relu(m.c(2 * x - 1)).flatten(1)), c=conv(padding=1), fc=linear(256)
    ),
    "norm of the input": chain(norm(3), conv(padding=1), nn.ReLU, nn.Flatten, linear(256)),
    "1 - x": style(lambda m, x: m.fc((1 - x).flatten(1)), fc=linear(192)),
    "mean image": style(
        lambda m, x: m.fc((x - m.image).flatten(1)),
        fc=linear(192),
        image=lambda: torch.rand(3, 8, 8),
    ),
    "bytes": style(lambda m, x: m.fc(x.float().flatten(1) / 255), fc=linear(192)),
}

NORMS = {
    "BatchNorm1d behind a flattened layer": chain(
        conv(), nn.ReLU, nn.Flatten, lambda: nn.BatchNorm1d(144), linear(144)
    ),
    "behind an activation": chain(
        conv(), nn.ReLU, norm(), conv(4, 4), nn.ReLU, nn.Flatten, linear(64)
    ),
    "behind a pool": chain(
        conv(), nn.ReLU, lambda: nn.AvgPool2d(2), norm(), conv(4, 4), nn.ReLU, nn.Flatten, linear(4)
    ),
    "between activation and pool": chain(
        conv(), nn.ReLU, norm(), lambda: nn.AvgPool2d(2), nn.Flatten, linear(36)
    ),
    "without affine": chain(conv(), norm(affine=False), nn.ReLU, nn.Flatten, linear(144)),
    "functional": style(
        lambda m, x: m.fc(
            F.relu(F.batch_norm(m.c(x), m.n.running_mean, m.n.running_var, m.n.weight)).flatten(1)
        ),
        c=conv(),
        n=norm(),
        fc=linear(144),
    ),
    "of the readout": chain(nn.Flatten, linear(192), lambda: nn.BatchNorm1d(5)),
    "BatchNorm1d of a sequence": chain(
        lambda: nn.Conv1d(2, 4, 3),
        lambda: nn.BatchNorm1d(4),
        nn.ReLU,
        nn.Flatten,
        linear(40),
        shape=(2, 12),
    ),
}


POOLS = {
    "before its activation": chain(
        conv(), lambda: nn.AvgPool2d(2), nn.ReLU, nn.Flatten, linear(36)
    ),
    "behind a 1x1 convolution": chain(
        conv(kernel=1), lambda: nn.AvgPool2d(2), nn.ReLU, nn.Flatten, linear(64)
    ),
    "adaptive, dividing": chain(
        conv(), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(3), nn.Flatten, linear(36)
    ),
    "adaptive, not dividing": chain(
        conv(), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(4), nn.Flatten, linear(64)
    ),
    "adaptive, of the size": chain(
        conv(), nn.ReLU, lambda: nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten, linear(144)
    ),
    "adaptive, widening": chain(
        conv(), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(7), nn.Flatten, linear(196)
    ),
    "padded": chain(
        conv(),
        nn.ReLU,
        lambda: nn.AvgPool2d(2, padding=1),
        conv(4, 4),
        nn.ReLU,
        nn.Flatten,
        linear(16),
    ),
    "ceil_mode without need": chain(
        conv(), nn.ReLU, lambda: nn.AvgPool2d(2, ceil_mode=True), nn.Flatten, linear(36)
    ),
    "ceil_mode before a matrix": chain(
        conv(), nn.ReLU, lambda: nn.AvgPool2d(4, ceil_mode=True), nn.Flatten, linear(16)
    ),
    "zeros not counted": chain(
        conv(),
        nn.ReLU,
        lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False),
        nn.Flatten,
        linear(64),
    ),
    "divisor": chain(
        conv(), nn.ReLU, lambda: nn.AvgPool2d(2, divisor_override=3), nn.Flatten, linear(36)
    ),
    "two": chain(
        conv(), nn.ReLU, lambda: nn.AvgPool2d(2), lambda: nn.AvgPool2d(3), nn.Flatten, linear(4)
    ),
    "mean, position by position": style(
        lambda m, x: m.fc(F.relu(m.c(x)).mean(3).mean(2)), c=conv(), fc=linear(4)
    ),
    "sequence": chain(
        lambda: nn.Conv1d(2, 4, 3),
        nn.ReLU,
        lambda: nn.AvgPool1d(2),
        lambda: nn.Conv1d(4, 4, 3),
        nn.ReLU,
        lambda: nn.AdaptiveAvgPool1d(1),
        nn.Flatten,
        linear(4),
        shape=(2, 12),
    )._replace(note="reshape samples"),
}
