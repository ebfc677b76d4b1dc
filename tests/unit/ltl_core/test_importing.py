"""A module imported through torch.fx computes what the module computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltl_core.errors import LayerShapeError, NetworkError, UnsupportedLayerError
from ltl_core.importing import from_torch
from ltl_core.network import NetworkSpec
from ltl_core.teacher import run_teacher


class Functional(nn.Module):
    """Written as others write: functions where modules could stand."""

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
        (nn.AvgPool2d(2), "behind the activation"),
    ],
)
def test_unsupported_layer_is_named_with_its_path(layer: nn.Module, advice: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=advice) as caught:
        from_torch(_nested(layer), (3, 8, 8))
    assert caught.value.path == "0.1"


def test_two_paths_are_no_chain() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.first(x)) + x

    with pytest.raises(UnsupportedLayerError, match="one chain"):
        from_torch(Residual(), (4,))


def test_shapes_that_do_not_meet_are_named() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(7, 2))
    with pytest.raises(LayerShapeError, match=r"layer2.*7.*6"):
        from_torch(module, (4,))


def test_readout_may_not_end_in_an_activation() -> None:
    with pytest.raises(NetworkError, match="without activation"):
        from_torch(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (4,))
