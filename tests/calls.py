"""A small network, and what the tests of a chip's agent and driver ask of the chip."""

import torch

from ltl_core.chip import LayerCodes, LayerSettings, Observable, Placement, Stimulus
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

IMAGES = Stimulus(torch.rand(5, 6, generator=torch.Generator().manual_seed(1)), 12)
RECORD = {"hidden": Observable.WINDOW, "readout": Observable.MEMBRANE}
CODES = torch.arange(24).view(4, 6) - 12
LAYER = LayerCodes(CODES, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))


def small_placement() -> Placement:
    """Two layers: six inputs, four hidden neurons, three outputs."""
    network = NetworkSpec(
        input_shape=(6,),
        layers=(
            Linear(name="hidden", in_features=6, out_features=4),
            Linear(name="readout", in_features=4, out_features=3),
        ),
    )
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    return Placement(network, {"hidden": settings, "readout": settings}, 1.0)
