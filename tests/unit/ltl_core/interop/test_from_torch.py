"""A module imported through torch.fx computes what the module computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models import VGG11, VGG13, VGG16, ResNet20, vgg
from ltl_core.errors import LayerShapeError, NetworkError, UnsupportedLayerError
from ltl_core.interop.from_torch import from_torch
from ltl_core.network.spec import NetworkSpec
from ltl_core.teaching.teacher import run_teacher


class Functional(nn.Module):
    """A network written with functions where modules could be used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Linear(8 * 2 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.clamp(self.norm(self.first(x)), 0, 1.5)
        x = F.avg_pool2d(x, 2)
        x = F.dropout(x, 0.5, self.training)
        return self.second(torch.flatten(x, 1))


def _sequential() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 1), padding=(1, 0)),
        nn.ReLU6(),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(4, affine=False),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(4 * 64, 7),
        nn.BatchNorm1d(7),
        nn.Hardtanh(0, 2),
        nn.Linear(7, 5),
    )


def _with_statistics(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize("make", [Functional, _sequential])
def test_imported_network_computes_what_the_module_computes(make: type[nn.Module]) -> None:
    module, inputs = _with_statistics(make()), torch.rand(9, 3, 8, 8)
    network, weights = from_torch(module, (3, 8, 8))
    torch.testing.assert_close(run_teacher(network, weights, inputs).logits, module(inputs))


def test_a_norm_left_out_would_be_seen() -> None:
    module, inputs = _with_statistics(_sequential()), torch.rand(9, 3, 8, 8)
    network, weights = from_torch(module, (3, 8, 8))
    weights["layer2.weight"] = weights["layer2.weight"] * 1.05
    difference = run_teacher(network, weights, inputs).logits - module(inputs)
    assert float(difference.detach().abs().max()) > 1e-4


def test_network_survives_json() -> None:
    network = from_torch(_sequential().eval(), (3, 8, 8)).network
    assert NetworkSpec.model_validate_json(network.model_dump_json()) == network


def _nested(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), layer), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("layer", "advice"),
    [
        (nn.MaxPool2d(2), "AvgPool2d"),
        (nn.Sigmoid(), "accepted are"),
        (nn.LSTM(4, 4), "accepted are"),
        (nn.Hardtanh(-1, 1), "min_val=0"),
    ],
)
def test_unsupported_layer_is_named_with_its_path(layer: nn.Module, advice: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=advice) as caught:
        from_torch(_nested(layer), (3, 8, 8))
    assert caught.value.path == "0.1"


class Residual(nn.Module):
    """A network with every way to write an addition and the mean over positions."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.short = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(torch.add(self.norm(self.first(x)), x) + self.short(x))
        x = torch.clip(F.relu(x.add(self.second(x))), max=1.5)
        if self.pool == "module":
            return self.last(torch.flatten(self.mean(x), 1))
        if self.pool == "function":
            x = F.adaptive_avg_pool2d(x, (1, 1))
            return self.last(x.reshape(x.shape[0], -1))
        return self.last(x.mean((2, 3)))


@pytest.mark.parametrize("pool", ["module", "function", "mean"])
def test_residual_module_computes_the_same(pool: str) -> None:
    module, inputs = _with_statistics(Residual(pool)), torch.rand(9, 3, 8, 8)
    network, weights = from_torch(module, (3, 8, 8))
    assert NetworkSpec.model_validate_json(network.model_dump_json()) == network
    torch.testing.assert_close(run_teacher(network, weights, inputs).logits, module(inputs))


@pytest.mark.parametrize(
    ("make", "matrices"),
    [
        (lambda: vgg(VGG11, width=0.125), 11),
        (lambda: vgg(VGG13, width=0.125), 13),
        (lambda: vgg(VGG16, width=0.125), 16),
        (lambda: ResNet20(channels=4), 22),  # two shortcuts with weights
    ],
    ids=["VGG-11", "VGG-13", "VGG-16", "ResNet-20"],
)
def test_networks_of_the_paper_compute_the_same(
    make: Callable[[], nn.Module], matrices: int
) -> None:
    module, inputs = _with_statistics(make()), torch.rand(3, 3, 32, 32)
    network, weights = from_torch(module, (3, 32, 32))
    assert len(network.matrices) == matrices
    torch.testing.assert_close(
        run_teacher(network, weights, inputs).logits, module(inputs), rtol=1e-4, atol=1e-5
    )


class _Forward(nn.Module):
    """A module with one layer and the forward that is given."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.work = forward

    def forward(self, x: Tensor) -> Any:
        return self.work(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.second(F.relu(F.relu(m.first(x)) + x)),
        lambda m, x: m.second(F.relu(m.first(x) + 1.0)),
        lambda m, x: m.second(F.relu(torch.add(m.first(x), x, alpha=2))),
        lambda m, x: m.second(F.relu((y := m.first(x)) + F.relu(y))),
        lambda m, x: m.first(F.relu(m.first(x))),
    ],
)
def test_sums_factors_and_layers_used_twice_compute_the_same(
    forward: Callable[[nn.Module, Tensor], Any],
) -> None:
    module, inputs = _Forward(forward), torch.randn(9, 4)
    network, weights = from_torch(module, (4,))
    torch.testing.assert_close(run_teacher(network, weights, inputs).logits, module(inputs))


@pytest.mark.parametrize(
    ("forward", "advice"),
    [
        (lambda m, x: m.second(F.relu(m.first(x)) + x), "sum of 2 layers"),
        (lambda m, x: (m.first(x), m.second(x)), "several outputs"),
        (lambda m, x: m.second(torch.cat([F.relu(m.first(x)), x], 1)), "needs input of shape 4"),
        (lambda m, x: m.second(x) if x.sum() > 0 else x, "branch on its values"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_advice(
    forward: Callable[[nn.Module, Tensor], Any], advice: str
) -> None:
    with pytest.raises(NetworkError, match=advice):
        from_torch(_Forward(forward), (4,))


def test_function_is_named_with_the_path_of_its_module() -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(x, 2)

    with pytest.raises(UnsupportedLayerError, match="stride of 2") as caught:
        from_torch(_nested(Pooled()), (3, 8, 8))
    assert caught.value.path.startswith("0.1.")


def test_shapes_that_do_not_meet_are_named() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(7, 2))
    with pytest.raises(LayerShapeError, match=r"layer2.*7.*6"):
        from_torch(module, (4,))


def test_readout_may_not_end_in_an_activation() -> None:
    with pytest.raises(NetworkError, match="without activation"):
        from_torch(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (4,))
