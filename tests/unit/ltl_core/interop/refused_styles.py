"""Modules that no spiking network computes exactly, each with words of its refusal."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.ltl_core.interop.styles import Style, Written, chain, conv, linear, norm, style


def _refused(words: str, found: Style) -> Style:
    return found._replace(refused=words)


def _bounded(words: str, bound) -> Style:
    return _refused(
        words, style(lambda m, x: m.fc(bound(m.c(x)).flatten(1)), c=conv(), fc=linear(144))
    )


def _layer(words: str, make) -> Style:
    return _refused(words, chain(conv(), make, nn.Flatten, linear(144)))


def _readout(words: str, work) -> Style:
    return _refused(words, style(work, (6,), fc=linear(6), other=linear(6)))


def _second(_first: Tensor, second: Tensor) -> Tensor:
    return second


def _square(x: Tensor) -> Tensor:
    assert x.shape[0] == x.shape[1]
    return x


class Hooked(nn.Module):
    """A layer whose hook changes what it puts out, which a trace does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(144, 5)
        self.c.register_forward_hook(lambda _module, _inputs, output: output * 1.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.c(x)).flatten(1))


class Noisy(nn.Conv2d):
    """A convolution with noise in eval mode, which is a constant of the trace."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * torch.randn(1, 4, 1, 1, dtype=x.dtype)


def _with_value(value: float, dtype: torch.dtype = torch.float32) -> Style:
    def make() -> nn.Module:
        module = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5)).to(dtype)
        with torch.no_grad():
            module.get_parameter("2.weight")[1, 2] = value
        return module

    return _refused(r"'2\.weight' holds 1 NaN or infinite", Style(make, (6,)))


REFUSED = {
    "clamp without lower bound": _bounded("no lower bound", lambda x: x.clamp(max=1)),
    "clamp_max": _bounded("no lower bound", lambda x: x.clamp_max(1)),
    "clamp with a negative bound": _bounded("lower bound -0.2", lambda x: x.clamp(-0.2, 1)),
    "clamp above zero": _bounded("lower bound 0.1", lambda x: x.clamp(0.1, 1)),
    "clamp to nothing": _bounded(r"ceiling 0 must be above 0", lambda x: x.clamp(0, 0)),
    "clamp by a tensor": _bounded("must be numbers", lambda x: x.clamp(torch.tensor(0.0))),
    "logits with a ceiling": _readout("no lower bound", lambda m, x: m.fc(x).clamp(max=1)),
    "hardtanh": _layer("min_val=0", nn.Hardtanh),
    "leaky relu": _layer(r"LeakyReLU.*nn.Hardtanh\(0, 2\)", nn.LeakyReLU),
    "prelu": _layer("fine-tune", nn.PReLU),
    "gelu": _bounded("gelu, .*line.*fine-tune", F.gelu),
    "silu": _layer("fine-tune", nn.SiLU),
    "tanh": _bounded("fine-tune", torch.tanh),
    "sigmoid inside": _layer("only the end of a module", nn.Sigmoid),
    "softmax over the batch": _readout("over dimension 0", lambda m, x: m.fc(x).softmax(0)),
    "max pool": _layer("tandemcal.replace_max_pool", lambda: nn.MaxPool2d(2)),
    "max pool by function": _bounded("line.*AvgPool2d.*nn.MaxPool2d", lambda x: F.max_pool2d(x, 2)),
    "adaptive max pool": _layer("AvgPool2d", lambda: nn.AdaptiveMaxPool2d(6)),
    "layer norm": _layer("statistics change with every sample", lambda: nn.LayerNorm(6)),
    "group norm": _layer("BatchNorm", lambda: nn.GroupNorm(2, 4)),
    "norm without statistics": _layer(
        "no running statistics", lambda: nn.BatchNorm2d(4, track_running_stats=False)
    ),
    "norm between activation and padding": _refused(
        "pads with zeros",
        chain(conv(), nn.ReLU, norm(), conv(4, 4, padding=1), nn.ReLU, nn.Flatten, linear(144)),
    ),
    "padding between convolutions": _refused(
        "put a ReLU between",
        chain(conv(), conv(4, 4, padding=1), nn.ReLU, nn.Flatten, linear(144)),
    ),
    "circular padding": _refused(
        "padding_mode='zeros'",
        chain(conv(padding=1, padding_mode="circular"), nn.ReLU, nn.Flatten, linear(256)),
    ),
    "transposed convolution": _layer("widens", lambda: nn.ConvTranspose2d(4, 4, 1)),
    "positions in another order": _refused(
        r"'flip' .*it is linear, but no convolution",
        style(
            lambda m, x: m.fc(F.relu(m.d(F.relu(m.c(x)).flip(2))).flatten(1)),
            c=conv(),
            d=conv(4, 4),
            fc=linear(64),
        ),
    ),
    "uneven pool before padding": _refused(
        "no convolution",
        chain(
            conv(),
            nn.ReLU,
            lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
            conv(4, 4),
            nn.ReLU,
            nn.Flatten,
            linear(4),
        ),
    ),
    "gate": _bounded("multiplies two values", lambda x: x * x.mean((2, 3), keepdim=True)),
    "recurrent": _refused("recurrent", chain(lambda: nn.LSTM(6, 5), shape=(4, 6))),
    "attention": _refused(
        "multiplies values", chain(lambda: nn.TransformerEncoderLayer(6, 2), shape=(4, 6))
    ),
    "unknown function": _bounded("accepted are", torch.fft.rfft2),
    "flatten of the batch": _bounded(
        r"makes 1 samples.*keep the batch apart", lambda x: x.reshape(1, -1)
    ),
    "flatten that is too short": _refused(
        r"makes 6 samples.*keep the batch apart",
        style(lambda m, x: m.fc(F.relu(m.c(x)).view(-1, 72)), c=conv(), fc=linear(72)),
    ),
    "mean of the batch": _readout("averages over the batch", lambda m, x: m.fc(x - x.mean(0))),
    "branch on values": _readout("must not branch", lambda m, x: m.fc(x) if x.sum() > 0 else x),
    "dropout without flag": _readout("training=self.training", lambda m, x: m.fc(F.dropout(x))),
    "two outputs": _readout("several outputs", lambda m, x: (m.fc(x), m.other(x))),
    "activation at the end": _readout("without activation", lambda m, x: F.relu(m.fc(x))),
    "sum of readouts": _readout(
        "sum of 2 layers", lambda m, x: m.fc(F.relu(x)) + m.other(F.relu(x - 1))
    ),
    "matrix for each position": _refused("1x1 convolution", chain(linear(6), shape=(4, 6))),
    "maps as output": _refused("one output a class", chain(conv(), nn.ReLU, conv(4, 2))),
    "two inputs": _refused("several inputs", Style(lambda: nn.Bilinear(6, 6, 5), (6,))),
    "in place while still read": _refused(
        "differs from the module, first in layer",
        style(
            lambda m, x: m.fc(F.relu(_second(F.relu_(y := m.c(x)), m.d(y))).flatten(1)),
            c=conv(),
            d=conv(4, 4, 1),
            fc=linear(144),
        ),
    ),
    "hook": _refused("differs from the module, first in layer 'c'", Style(Hooked)),
    "noise": _refused(
        "differs from the module", chain(lambda: Noisy(3, 4, 3), nn.ReLU, nn.Flatten, linear(144))
    ),
    "NaN": _with_value(float("nan")),
    "infinity": _with_value(float("inf")),
    "too large for float32": _with_value(1e300, torch.float64),
    "channels that differ": _refused(
        "'c' needs input of shape 1xHxW, but found 3x8x8",
        style(lambda m, x: m.fc(F.relu(m.c(x)).flatten(1)), c=conv(1), fc=linear(144)),
    ),
    "features that differ": _refused(
        "'fc' needs input of shape 100, but found 144",
        style(lambda m, x: m.fc(F.relu(m.c(x)).flatten(1)), c=conv(), fc=linear(100)),
    ),
    "a smaller image": _refused(
        r"'c' .*line.*fails for this shape of the input", chain(conv(), shape=(3, 2, 2))
    )._replace(
        make=lambda: Written(lambda m, x: m.c(x).mean((2, 3)), c=nn.Conv2d(3, 4, 3)),
    ),
    "an assertion about the shape": _readout(
        r"forward fails for an input of shape \(3, 6\).*AssertionError", lambda _, x: _square(x)
    ),
    "a name that is missing": _readout("AttributeError", lambda m, x: m.parts[x.dim()]),
    "an output without input": _readout(
        "does not depend on the module's input", lambda m, x: m.fc.weight[: len(x)]
    ),
    "no output": _readout("returns no tensor", lambda *_: None),
    "a shape with a batch": _refused(r"one to three dimensions", chain(conv(), shape=(1, 3, 8, 8))),
    "script": _refused("TorchScript", Style(lambda: torch.jit.script(nn.Linear(6, 5)), (6,))),
}
