"""The neuron over a whole time window equals the neuron step by step."""

import torch

from ltl_core.settings import (
    NeuronSettings,
)
from ltl_core.spiking.neuron import (
    LIFState,
    count_spikes,
    lif_step,
    lif_window,
    reintegrate,
    sum_time,
)

NEURON = NeuronSettings()


def _currents() -> torch.Tensor:
    return torch.randn(16, 3, 50, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2


def test_window_equals_single_steps() -> None:
    membranes, spikes = lif_window(_currents(), NEURON)
    state = LIFState(torch.zeros(3, 50), torch.zeros(3, 50))
    for step, current in enumerate(_currents()):
        state = lif_step(current, state, NEURON)
        torch.testing.assert_close(membranes[step], state.membrane, rtol=0, atol=1e-6)
        assert torch.equal(spikes[step], state.spikes)


def test_spikes_are_counted_past_what_a_byte_holds() -> None:
    spikes = torch.ones(600, 4, dtype=torch.uint8)
    assert count_spikes(spikes, torch.float64).tolist() == [600] * 4
    assert sum_time(spikes).tolist() != [600] * 4


def test_model_reset_by_its_own_spikes_is_the_neuron() -> None:
    membranes, spikes = lif_window(_currents(), NEURON)
    torch.testing.assert_close(reintegrate(_currents(), spikes, NEURON), membranes)
    assert not torch.allclose(reintegrate(_currents(), 1 - spikes, NEURON), membranes, atol=0.1)
