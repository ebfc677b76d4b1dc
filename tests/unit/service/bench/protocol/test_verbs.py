"""Stimuli on the wire: spikes travel as bits, other values as they are."""

import pytest
import torch
from torch import Tensor

from ltl_core.chip import Observable, Stimulus
from service.bench.protocol.verbs import run_request
from service.bench.protocol.wire import encode

RNG = torch.Generator().manual_seed(1)
SPIKES = (torch.rand(12, 5, 6, generator=RNG) < 0.2).float()
RECORD = {"readout": Observable.MEMBRANE}


def test_spikes_into_a_layer_travel_as_bits() -> None:
    bits = run_request(Stimulus(SPIKES, 12, "readout"), RECORD)
    assert bits.tensors["spikes"].dtype == torch.bool
    assert torch.equal(bits.tensors["spikes"].float(), SPIKES)
    floats = run_request(Stimulus(SPIKES * 0.5, 12, "readout"), RECORD)
    assert encode(bits).size < encode(floats).size - 3 * SPIKES.numel()


@pytest.mark.parametrize(
    ("values", "layer"),
    [(SPIKES * 0.5, "readout"), (SPIKES.double(), "readout"), (SPIKES[0], None)],
)
def test_other_values_travel_as_they_are(values: Tensor, layer: str | None) -> None:
    message = run_request(Stimulus(values, 12, layer), RECORD)
    assert message.tensors.keys() == {"values"}
    assert message.tensors["values"] is values
