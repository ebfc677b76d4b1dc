"""A small residual network with everything a student may be made of, in double precision."""

import torch
from torch import Tensor

from ltl_core.network.spec import NetworkSpec

RESIDUAL = NetworkSpec.model_validate(
    {
        "input_shape": [2, 8, 8],
        "layers": [
            {"kind": "conv2d", "name": "stem", "in_channels": 2, "out_channels": 4,
             "kernel": [3, 3], "padding": [1, 1]},
            {"kind": "conv2d", "name": "one", "in_channels": 4, "out_channels": 4,
             "kernel": [3, 3], "padding": [1, 1], "fires": False},
            {"kind": "add", "name": "same", "inputs": ["one", "stem"]},
            {"kind": "conv2d", "name": "two", "in_channels": 4, "out_channels": 6,
             "kernel": [3, 3], "padding": [1, 1], "stride": [2, 2]},
            {"kind": "conv2d", "name": "three", "in_channels": 6, "out_channels": 6,
             "kernel": [3, 3], "padding": [1, 1], "groups": 2, "fires": False},
            {"kind": "avg_pool2d", "name": "halved", "inputs": ["same"],
             "kernel": [2, 2], "stride": [2, 2]},
            {"kind": "conv2d", "name": "short", "in_channels": 4, "out_channels": 6,
             "kernel": [1, 1], "fires": False},
            {"kind": "add", "name": "other", "inputs": ["three", "short"]},
            {"kind": "global_avg_pool", "name": "mean"},
            {"kind": "linear", "name": "last", "in_features": 6, "out_features": 3},
        ],
    }
)  # fmt: skip
CHAIN = NetworkSpec.model_validate(
    {
        "input_shape": [2, 8, 8],
        "layers": [
            {"kind": "conv2d", "name": "first", "in_channels": 2, "out_channels": 6,
             "kernel": [3, 3], "padding": [1, 1]},
            {"kind": "avg_pool2d", "name": "pool", "kernel": [2, 2], "stride": [2, 2]},
            {"kind": "conv2d", "name": "second", "in_channels": 6, "out_channels": 8,
             "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "groups": 2},
            {"kind": "linear", "name": "third", "in_features": 32, "out_features": 12},
            {"kind": "linear", "name": "last", "in_features": 12, "out_features": 3},
        ],
    }
)  # fmt: skip
BATCH = 5
LABELS = torch.tensor([0, 1, 2, 0, 1])


def random_weights(network: NetworkSpec) -> dict[str, Tensor]:
    """Return weights large enough that every layer fires now and then."""
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        * (0.1 if name.endswith("bias") else 0.35)
        for name, shape in network.tensor_shapes.items()
    }
    straight = {
        f"{stage.name}.gain": torch.full((n,), 0.37, dtype=torch.float64)
        for stage in network.stages
        if (n := len(stage.branches) - len(stage.matrices))
    }
    return weights | straight


def random_inputs(*lead: int, seed: int = 4) -> Tensor:
    """Return images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((*lead, 2, 8, 8), generator=generator, dtype=torch.float64)


def random_targets(network: NetworkSpec) -> dict[str, Tensor]:
    """Return target rates for every hidden layer."""
    generator = torch.Generator().manual_seed(5)
    return {
        stage.name: torch.rand(
            (BATCH, *stage.output_shape), generator=generator, dtype=torch.float64
        )
        for stage in network.stages
        if not stage.is_readout
    }
