"""More modules in other people's styles: convolutions, joins, wrappers, activations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as old_weight_norm

from tests.unit.ltl_core.interop.styles import Style, Written, chain, conv, linear, norm, style


class Standardized(nn.Conv2d):
    """A convolution whose weights have mean zero and variance one."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        spread = self.weight.std((1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (spread + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Parameters(nn.Module):
    """A network of parameters, without layers."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.matrix = nn.Parameter(torch.randn(144, 5))
        self.offset = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(F.conv2d(x, self.kernel, stride=1))
        return x.flatten(1) @ self.matrix + self.offset


class Listed(nn.Module):
    """Layers in a ModuleList, keyword arguments, a flag for training, a branch on a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)])
        self.head, self.aux = nn.Linear(64, 5), nn.Linear(64, 5)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, scale: float = 1.0, *, features: bool = False, **_: object):
        assert x.dim() == 4
        assert x.shape[1] == 3
        for layer in self.layers:
            x = F.relu(layer(x), inplace=True)
        x = F.dropout(x.flatten(1), 0.5, self.training)
        if self.training:
            return self.head(x), self.aux(x)
        return x if features else self.head(self.drop(x)) * scale


class OldWeightNorm(nn.Module):
    """Weight norm as a hook, which recent torch still supports."""

    def __init__(self) -> None:
        super().__init__()
        self.c = old_weight_norm(nn.Conv2d(3, 4, 3))
        self.fc = nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.c(x)).flatten(1))


class Shortcut(nn.Module):
    """The shortcut without weights of the first residual networks: fewer rows, more channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.fc(F.relu(self.b(x) + short).mean((2, 3)))


def _head(work, **layers) -> Style:
    return style(lambda m, x: m.fc(F.relu(work(m, x)).mean((2, 3))), fc=linear(4), **layers)


def _shuffled(x: Tensor) -> Tensor:
    """Return the channels of two groups in turn, as ShuffleNet does."""
    batch, channels, rows, columns = x.size()
    x = x.view(batch, 2, channels // 2, rows, columns)
    return torch.transpose(x, 1, 2).contiguous().view(batch, -1, rows, columns)


def _added(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


CONVOLUTIONS = {
    "same": _head(lambda m, x: m.c(x), c=conv(padding="same")),
    "same, even kernel": _head(lambda m, x: m.c(x), c=conv(kernel=4, padding="same")),
    "valid": _head(lambda m, x: m.c(x), c=conv(padding="valid")),
    "dilation": _head(lambda m, x: m.c(x), c=conv(dilation=2, padding=(2, 1))),
    "depthwise, then pointwise": _head(
        lambda m, x: m.p(m.d(x)), d=conv(3, 3, groups=3, padding=1, bias=False), p=conv(3, 4, 1)
    ),
    "behind each other": _head(lambda m, x: m.d(m.c(x)), c=conv(stride=2), d=conv(4, 4, 2)),
    "parameters": Style(Parameters),
    "standardized": _head(lambda m, x: m.c(x), c=lambda: Standardized(3, 4, 3)),
    "weight norm": _head(
        lambda m, x: m.c(x), c=lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    ),
    "weight norm of old": Style(OldWeightNorm),
    "spectral norm": _head(
        lambda m, x: m.c(x), c=lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
    ),
    "used twice": _head(
        lambda m, x: m.c(F.relu(m.c(F.relu(m.a(x))))), a=conv(), c=conv(4, 4, padding=1)
    )._replace(note="'c' are in 2 layers"),
    "pad, then convolution": _head(lambda m, x: m.c(F.pad(x, (0, 1, 0, 1))), c=conv(stride=2)),
    "ZeroPad2d": _head(lambda m, x: m.c(m.z(x)), z=lambda: nn.ZeroPad2d(1), c=conv()),
    "matrices behind each other": chain(nn.Flatten, linear(192, 7), linear(7, 5)),
    "convolution, then matrix": chain(conv(), nn.Flatten, linear(144)),
    "keyword spotting": chain(
        lambda: nn.Conv1d(2, 4, 5, padding="same", dilation=2),
        lambda: nn.BatchNorm1d(4),
        nn.ReLU6,
        lambda: nn.Conv1d(4, 4, 3, stride=2, groups=2),
        nn.ReLU,
        nn.Flatten,
        linear(28),
        shape=(2, 16),
    ),
    "matrix in front of a flat view": style(
        lambda m, x: m.fc(F.relu(m.c(x).reshape(len(x), 2, -1)).flatten(1)),
        c=conv(),
        fc=linear(144),
    ),
}

JOINS = {
    "concatenation of rates": style(
        lambda m, x: m.fc(F.relu(m.d(torch.cat([F.relu(m.a(x)), F.relu(m.b(x))], 1))).mean((2, 3))),
        a=conv(padding=1),
        b=conv(kernel=1),
        d=conv(8, 4),
        fc=linear(4),
    ),
    "concatenation before the activation": style(
        lambda m, x: m.fc(F.relu(torch.cat((m.a(x), m.b(x)), dim=1)).mean((2, 3))),
        a=conv(padding=1),
        b=conv(kernel=1),
        fc=linear(8),
    ),
    "dense block": style(
        lambda m, x: m.fc(
            F.relu(m.n(torch.cat([y := F.relu(m.a(x)), F.relu(m.b(y))], 1))).mean((2, 3))
        ),
        a=conv(padding=1),
        b=conv(4, 4, padding=1),
        n=norm(8),
        fc=linear(8),
    ),
    "concatenation of vectors": style(
        lambda m, x: m.fc(torch.cat([F.relu(m.a(x.flatten(1))), F.relu(m.b(x.flatten(1)))], -1)),
        a=linear(192, 3),
        b=linear(192, 4),
        fc=linear(7),
    ),
    "chunk": style(
        lambda m, x: m.fc((F.relu(m.c(x)).chunk(2, 1)[1]).flatten(1)), c=conv(), fc=linear(72)
    ),
    "shuffled channels": style(
        lambda m, x: m.fc(F.relu(m.d(_shuffled(F.relu(m.c(x))))).flatten(1)),
        c=conv(),
        d=conv(4, 4, padding=1, groups=2),
        fc=linear(144),
    ),
    "parts in another order": style(
        lambda m, x: m.fc(torch.cat(F.relu(m.c(x)).chunk(2, 1)[::-1], 1).flatten(1)),
        c=conv(),
        fc=linear(144),
    ),
    "slices of channels": style(
        lambda m, x: m.fc(F.relu(m.d(F.relu(m.c(x))[:, 1:3])).flatten(1)),
        c=conv(),
        d=conv(2, 4),
        fc=linear(64),
    ),
    "branches of one kernel (RepVGG)": style(
        lambda m, x: m.fc(F.relu(m.n(y := F.relu(m.a(x))) + m.b(y) + m.c(y)).mean((2, 3))),
        a=conv(padding=1),
        n=norm(),
        b=conv(4, 4, padding=1),
        c=conv(4, 4, 1),
        fc=linear(4),
    ),
    "shortcut without weights": Style(Shortcut),
    "addition of rates alone": style(
        lambda m, x: m.fc(F.relu(F.relu(m.a(x)) + F.relu(m.b(x))).mean((2, 3))),
        a=conv(),
        b=conv(),
        fc=linear(4),
    ),
    "sum in front of a matrix": style(
        lambda m, x: m.fc(F.relu(m.b(F.relu(m.a(y := x.flatten(1))) + 0.5 * y))),
        a=linear(192, 192),
        b=linear(192, 7),
        fc=linear(7),
    ),
    "weighted shortcut": style(
        lambda m, x: m.fc(F.relu(m.b(y := F.relu(m.a(x))) - 0.5 * y).mean((2, 3))),
        a=conv(padding=1),
        b=conv(4, 4, padding=1),
        fc=linear(4),
    ),
    "sum in place": style(
        lambda m, x: m.fc(F.relu(m.d(_added(F.relu(m.a(x)), F.relu(m.b(x))))).mean((2, 3))),
        a=conv(),
        b=conv(),
        d=conv(4, 4),
        fc=linear(4),
    ),
    "sum of a list": style(
        lambda m, x: m.fc(F.relu(sum([m.a(x), m.b(x)])).mean((2, 3))),
        a=conv(),
        b=conv(),
        fc=linear(4),
    ),
    "bottleneck without activation": style(
        lambda m, x: m.fc(
            F.relu6(m.c((y := m.b(F.relu6(m.a(x)))) + m.d(F.relu6(m.e(y))))).mean((2, 3))
        ),
        a=conv(3, 6, padding=1),
        b=conv(6, 4, 1),
        e=conv(4, 6, 1),
        d=conv(6, 4, 1),
        c=conv(4, 4, 1),
        fc=linear(4),
    ),
}


class OptimizedModule(nn.Module):
    """The wrapper of torch.compile, whose own takes five seconds to load."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


def _wrapped(wrap) -> Style:
    return Style(lambda: wrap(Parameters()))


WRAPPERS = {
    "DataParallel": _wrapped(nn.DataParallel),
    "torch.compile": _wrapped(OptimizedModule),
    "half": _wrapped(lambda m: m.half()),
    "bfloat16": _wrapped(lambda m: m.bfloat16()),
    "double": _wrapped(lambda m: m.double()),
    "list, flags and keywords": Style(Listed),
    "training mode": _wrapped(lambda m: m.train()),
    "compiled inside": Style(
        lambda: nn.Sequential(OptimizedModule(nn.Flatten()), nn.Linear(192, 5))
    ),
    "a single layer": Style(lambda: nn.Linear(6, 5), (6,)),
    "names that are taken": Style(
        lambda: Written(
            lambda m, x: m.layer1(F.relu(getattr(m, "1")(F.relu(m.input(x.flatten(1)))))),
            **{"input": nn.Linear(192, 6), "1": nn.Linear(6, 6), "layer1": nn.Linear(6, 5)},
        ),
        note="the name 'layer1' is taken",
    ),
}
