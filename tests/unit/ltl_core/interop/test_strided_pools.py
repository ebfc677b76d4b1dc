"""Convolutions in place of max pools: importable, of the same size, and the average at first."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltl_core.errors import NetworkError, SettingError
from ltl_core.interop.from_torch import from_torch
from ltl_core.interop.max_pools import replace_max_pool
from ltl_core.teaching.teacher import run_teacher

SHAPE = (3, 12, 12)


def _replaced(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> Any:
    return replace_max_pool(module.eval(), "strided-convolution", input_shape=shape)


def _network(conv: nn.Module, *between: nn.Module, pool: nn.Module) -> nn.Module:
    return nn.Sequential(conv, *between, pool, nn.Flatten(), nn.LazyLinear(5))


def _check_import(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> None:
    network, weights = from_torch(module, shape)
    inputs = torch.rand(4, *shape)
    samples = inputs.reshape(len(inputs), *network.input_shape)
    torch.testing.assert_close(run_teacher(network, weights, samples).logits, module(inputs))


class Functional(nn.Module):
    """One pool behind two convolutions, with the activations as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding="same")
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(54, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.first(x)))
        x = self.pool(torch.relu(self.second(x)))
        return self.fc(x.flatten(1))


def test_the_convolution_in_front_takes_the_stride_over() -> None:
    module = Functional()
    replaced = _replaced(module)
    assert replaced.get_submodule("first").stride == (2, 2)
    assert replaced.get_submodule("second").stride == (2, 2)
    assert isinstance(replaced.get_submodule("pool"), nn.Identity)
    assert module.first.stride == (1, 1)  # the module itself is not changed
    assert torch.equal(replaced.get_parameter("first.weight"), module.first.weight)
    assert len(from_torch(replaced, SHAPE).network.layers) == 3
    _check_import(replaced)


@pytest.mark.parametrize(
    ("conv", "pool", "merged"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), True),
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, padding=1), True),
        (nn.Conv2d(3, 4, 5, padding=4, dilation=2), nn.MaxPool2d((2, 3)), True),
        (nn.Conv2d(3, 4, 4, padding=2), nn.MaxPool2d(2), False),  # 13 positions: 7 instead of 6
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2), False),  # 6 instead of 5
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 1, padding=1), False),
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2, dilation=2, stride=2), False),
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True), True),
        (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2, 2, ceil_mode=True), True),
        (nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveMaxPool2d(4), False),
        (nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveMaxPool2d(1), False),
    ],
    ids=repr,
)
def test_output_keeps_its_size_and_is_imported(
    conv: nn.Module, pool: nn.Module, merged: bool
) -> None:
    module = _network(conv, nn.BatchNorm2d(4), nn.ReLU(), pool=pool)
    module(torch.rand(2, *SHAPE))  # sets the size of the last layer
    replaced = _replaced(module)
    assert isinstance(replaced[3], nn.Identity) is merged
    _check_import(replaced)


def test_a_sequence_is_pooled_too() -> None:
    module = _network(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), pool=nn.MaxPool1d(2))
    module(torch.rand(2, 2, 16))
    replaced = _replaced(module, (2, 16))
    assert replaced[0].stride == (2,)
    _check_import(replaced, (2, 16))


class ReadTwice(nn.Module):
    """A convolution that a pool reads, and not it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return self.fc(torch.cat((self.pool(x).mean((2, 3)), x.mean((2, 3))), 1))


def test_what_others_read_keeps_its_positions() -> None:
    replaced = _replaced(ReadTwice())
    assert replaced.get_submodule("conv").stride == (1, 1)
    inputs = torch.rand(2, *SHAPE)
    averaged = replace_max_pool(ReadTwice())
    averaged.load_state_dict({k: v for k, v in replaced.state_dict().items() if "pool" not in k})
    torch.testing.assert_close(replaced(inputs), averaged(inputs))  # it starts as the average
    replaced.get_parameter("pool.0.weight").data[0] *= 2  # and can learn
    assert not torch.allclose(replaced(inputs), averaged(inputs))


def test_a_pool_of_negative_values_gets_no_activation() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 4, padding=2), nn.MaxPool2d(2), nn.ReLU())
    replaced = _replaced(module)
    averaged = replace_max_pool(module)
    inputs = torch.rand(2, *SHAPE)
    assert isinstance(replaced[1], nn.Conv2d)
    torch.testing.assert_close(replaced(inputs), averaged(inputs))


def test_one_pool_under_two_names_becomes_two_convolutions() -> None:
    pool = nn.MaxPool2d(3, 1, padding=1)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, nn.Conv2d(4, 6, 3), nn.ReLU(), pool)
    replaced = _replaced(module)
    assert [replaced[at][0].weight.shape[0] for at in (2, 5)] == [4, 6]


class CalledTwice(Functional):
    """Its convolutions give sizes that only a convolution for each place of the pool keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 1, padding=1)
        self.fc = nn.Linear(6 * 12 * 12, 5)


def test_a_pool_called_twice_is_refused_where_it_needs_two_convolutions() -> None:
    with pytest.raises(NetworkError, match="'pool' is used at 2 places"):
        _replaced(CalledTwice())


def test_windows_that_differ_are_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4))
    with pytest.raises(NetworkError, match=r"'2' makes \(4, 4\) positions of \(10, 10\)"):
        _replaced(module)


def test_without_the_shape_of_a_sample_it_is_refused() -> None:
    with pytest.raises(SettingError, match="give `input_shape`"):
        replace_max_pool(Functional(), "strided-convolution")


def test_the_copy_trains_where_the_module_does() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 4, padding=2), nn.ReLU(), nn.MaxPool2d(2)).double()
    replaced = replace_max_pool(module.train(), "strided-convolution", input_shape=SHAPE)
    replaced(torch.rand(2, *SHAPE, dtype=torch.float64)).sum().backward()
    assert all(part.training for part in replaced.modules())
    assert all(parameter.grad is not None for parameter in replaced.parameters())
