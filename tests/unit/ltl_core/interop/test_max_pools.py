"""Average pools in place of max pools: importable, of the same size, and in a copy."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltl_core.errors import NetworkError, SettingError, UnsupportedLayerError
from ltl_core.interop.from_torch import from_torch
from ltl_core.interop.max_pools import replace_max_pool
from ltl_core.teaching.teacher import run_teacher


class Stem(nn.Module):
    """The beginning of a residual network: its pool is padded, and read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.conv(x)))
        return self.fc(F.relu(self.block(x) + x).mean((2, 3)))


def test_padded_pool_of_a_residual_network_is_imported() -> None:
    module = Stem()
    with pytest.raises(UnsupportedLayerError, match=r"replace_max_pool") as caught:
        from_torch(module, (3, 8, 8))
    assert caught.value.path == "maxpool"
    replaced = replace_max_pool(module)
    network, weights = from_torch(replaced, (3, 8, 8))
    inputs = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(run_teacher(network, weights, inputs).logits, replaced(inputs))


def test_the_module_itself_is_not_changed() -> None:
    module = Stem()
    replaced = replace_max_pool(module)
    assert isinstance(module.maxpool, nn.MaxPool2d)
    assert isinstance(replaced.maxpool, nn.AvgPool2d)
    assert torch.equal(replaced.get_parameter("fc.weight"), module.fc.weight)
    assert replaced.get_parameter("fc.weight") is not module.fc.weight


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 1, padding=1),
        nn.MaxPool2d((1, 2)),
        nn.AdaptiveMaxPool2d(4),
    ],
    ids=repr,
)
def test_output_keeps_its_size(pool: nn.Module) -> None:
    replaced = replace_max_pool(nn.Sequential(pool))
    inputs = torch.rand(1, 2, 12, 12)
    assert replaced(inputs).shape == pool(inputs).shape


def test_module_without_max_pools_is_refused() -> None:
    with pytest.raises(NetworkError, match="no MaxPool layer"):
        replace_max_pool(nn.Sequential(nn.Linear(2, 2)))


def test_one_pool_at_two_places_is_replaced_at_both() -> None:
    pool = nn.MaxPool2d(2)
    replaced = replace_max_pool(nn.Sequential(pool, nn.ReLU(), pool))
    assert [type(part) for part in replaced.children()] == [nn.AvgPool2d, nn.ReLU, nn.AvgPool2d]


@pytest.fixture
def _without_type_checks() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_without_type_checks")
def test_another_word_is_refused() -> None:
    with pytest.raises(SettingError, match="'average-pool' or 'strided-convolution'"):
        replace_max_pool(nn.Sequential(nn.MaxPool2d(2)), by="strides")  # type: ignore[arg-type]
