"""Any network of accepted parts is imported, and computes what torch computes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ltl_core.interop.agreement import TOLERANCE
from ltl_core.interop.from_torch import from_torch
from ltl_core.teaching.teacher import run_teacher

CHANNELS = 4


class Residual(nn.Module):
    """A sum of a block and a shortcut, in front of an activation."""

    def __init__(self, block: nn.Module, factor: float) -> None:
        super().__init__()
        self.block, self.factor = block, factor

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.block(x) + self.factor * x)


class Concatenated(nn.Module):
    """Two branches beside each other, and a convolution that reads both."""

    def __init__(self, first: nn.Module, second: nn.Module, channels: int) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.last = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.last(torch.cat([self.first(x), self.second(x)], 1)))


class Affine(nn.Module):
    """A scale and a shift of all channels."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


NUMBER = st.floats(-2, 2, allow_subnormal=False).map(lambda value: round(value, 2))
CONV = st.builds(
    lambda kernel, dilation, groups, bias: nn.Conv2d(
        CHANNELS, CHANNELS, kernel, 1, "same", dilation, groups, bias
    ),
    st.sampled_from([1, 3, (1, 3)]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
STRIDED = st.builds(
    lambda padding: nn.Conv2d(CHANNELS, CHANNELS, 3, 2, padding), st.sampled_from([1, (1, 2)])
)
NORM = st.builds(lambda affine: nn.BatchNorm2d(CHANNELS, affine=affine), st.booleans())
ACTIVATION = st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0, 0.8), nn.Hardtanh(0, 2)])
POOL = st.sampled_from(
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(2, 1),
        nn.AvgPool2d((1, 2)),
        nn.AdaptiveAvgPool2d(3),
        nn.Identity(),
    ]
)
NONE = st.builds(nn.Identity)
FIRED = st.builds(nn.Sequential, CONV | STRIDED, NORM | NONE, ACTIVATION, POOL | NONE)
SUMMED = st.builds(nn.Sequential, CONV, NORM | NONE)
PART = (
    FIRED
    | st.builds(nn.Sequential, CONV, NORM | NONE, POOL | NONE, ACTIVATION)
    | st.builds(Residual, SUMMED, st.sampled_from([1.0, -0.5]))
    | st.builds(
        Concatenated,
        st.builds(nn.Sequential, SUMMED, ACTIVATION),
        st.builds(nn.Sequential, SUMMED, ACTIVATION),
        st.just(CHANNELS),
    )
)
FLATTEN: list[Callable[[], nn.Module]] = [
    nn.Flatten,
    lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    lambda: nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()),
]


@st.composite
def networks(draw: Any) -> nn.Module:
    """Return a module with a few parts between a first convolution and a readout."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    first = nn.Conv2d(2, CHANNELS, 3, padding=draw(st.integers(0, 1)))
    parts = draw(st.lists(PART, max_size=2))
    begin = draw(st.builds(Affine, NUMBER.filter(bool), NUMBER) | NONE)
    body = nn.Sequential(begin, first, nn.ReLU(), *parts)
    flatten = draw(st.sampled_from(FLATTEN))()
    with torch.no_grad():
        features = flatten(body.eval()(torch.zeros(1, 2, 9, 9))).shape[1]
    tail = draw(NONE | st.builds(lambda: nn.BatchNorm1d(features)))
    return nn.Sequential(body, flatten, tail, nn.Linear(features, 3))


def _with_statistics(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.get_buffer("running_mean").uniform_(-0.5, 0.5)
            part.get_buffer("running_var").uniform_(0.5, 2)
            if part.affine:
                nn.init.uniform_(part.weight, -1.5, 1.5)
                nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.eval()


@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])
@given(networks())
def test_random_network_computes_what_torch_computes(module: nn.Module) -> None:
    network, weights = from_torch(_with_statistics(module), (2, 9, 9))
    inputs = torch.randn(4, 2, 9, 9)
    with torch.no_grad():
        expected = module.double()(inputs.double())
    found = run_teacher(network, weights, inputs).logits
    assert float((found - expected).abs().max()) < TOLERANCE * max(1.0, float(expected.abs().max()))
