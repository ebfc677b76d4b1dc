"""Stimulus, record and codes that tests of agent and driver use."""

import torch

from ltl_core.chip import LayerCodes, Observable, Stimulus

IMAGES = Stimulus(torch.rand(5, 6, generator=torch.Generator().manual_seed(1)), 12)
RECORD = {"hidden": Observable.WINDOW, "readout": Observable.MEMBRANE}
CODES = torch.arange(24).view(4, 6) - 12
LAYER = LayerCodes(CODES, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
