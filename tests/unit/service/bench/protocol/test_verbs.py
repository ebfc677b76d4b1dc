"""Stimuli on the wire: spikes travel as bits. Registers are read by peers of other versions."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import Observable, Stimulus, Tuning
from service.bench.protocol.messages import read_tuning, run_request, tune_request
from service.bench.protocol.verbs import VERBS
from service.bench.protocol.wire import MalformedBodyError, Message, encode

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


@pytest.mark.parametrize("scales", [[1.0], [1.0, "2"], [1, 2.0], 1.0])
def test_side_weights_without_two_scales_are_malformed(scales: object) -> None:
    weights = torch.ones(1, 1, dtype=torch.int8)
    call = Message({"layer": "hidden", "scales": scales}, {"down": weights, "up": weights})
    chip = make_chip("c", preset("ideal-side"), 1)
    with pytest.raises(MalformedBodyError):
        VERBS["set_side"].handle(chip, call)


def registers() -> Tuning:
    banks, columns = torch.ones(3, 4, dtype=torch.int32), torch.ones(4, dtype=torch.int32)
    return Tuning(banks, banks, columns, columns, torch.tensor([-5, 2, -1]), 9)


def test_an_older_agent_reads_the_widest_range_as_that_of_the_layer() -> None:
    message = tune_request("hidden", registers())
    assert message.field("adc_range", int) == 2
    read = read_tuning(message)
    assert all(map(torch.equal, read.tensors.values(), registers().tensors.values()))
    assert read.readout_gain == 9


def test_one_range_of_an_older_driver_is_that_of_all_rows_of_tiles() -> None:
    message = tune_request("hidden", registers())
    tensors = {name: codes for name, codes in message.tensors.items() if name != "adc_range"}
    older = Message({"layer": "hidden", "adc_range": -3}, tensors)
    assert read_tuning(older).adc_range.tolist() == [-3, -3, -3]
    assert read_tuning(older).readout_gain == 0
    with pytest.raises(MalformedBodyError, match="lacks the int 'adc_range'"):
        read_tuning(Message({"layer": "hidden"}, tensors))
