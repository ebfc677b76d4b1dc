"""The neuron of a column, against steps computed by hand."""

import pytest
import torch

from chip_sim.column import (
    Activity,
    NeuronParams,
    NeuronRecord,
    Registers,
    integrate_and_fire,
    neuron_params,
)
from chip_sim.gaussian_table import GaussianTable
from chip_sim.identity import NeuronMismatch


def mismatch(**parts: float) -> NeuronMismatch:
    relative = {name: torch.tensor([parts.get(name, 0.0)]) for name in NeuronMismatch._fields}
    return NeuronMismatch(**{**relative, "dead": relative["dead"] > 0})


def params(
    *, decay: float = 0.5, noise: float = 0.0, trim: tuple[float, float] = (0.0, 0.0), **off: float
) -> NeuronParams:
    trims = (torch.tensor([code]) for code in trim)
    return neuron_params(Registers(10.0, decay, *trims), mismatch(**off), noise, window=3.0)


def respond(currents: list[float], neuron: NeuronParams, seed: int = 0) -> Activity:
    sums = torch.tensor(currents).view(-1, 1, 1)
    rng = torch.Generator().manual_seed(seed)
    return integrate_and_fire(sums, neuron, NeuronRecord(window=True, membrane=True), rng)


def membrane(activity: Activity) -> list[float]:
    assert activity.membrane is not None
    return [round(float(u), 4) for u in activity.membrane.flatten()]


def test_leak_fire_and_reset() -> None:
    seen = respond([8.0, 8.0, 4.0, 0.0], params())
    assert membrane(seen) == [8.0, 12.0, 4.0, 2.0]
    assert seen.spikes.flatten().tolist() == [0, 1, 0, 0]


def test_a_potential_at_the_threshold_does_not_fire() -> None:
    assert not respond([10.0], params()).spikes.any()


def test_the_window_flag_looks_around_the_threshold() -> None:
    seen = respond([7.0, 3.6, 14.0, 3.0], params())
    assert membrane(seen) == [7.0, 7.1, 17.55, 3.0]
    assert seen.window is not None
    assert seen.window.flatten().tolist() == [False, True, False, False]


def test_the_window_flag_moves_with_the_neurons_own_threshold() -> None:
    seen = respond([8.0], params(threshold=0.5))
    assert seen.window is not None
    assert not seen.window.any()


def test_trims_move_threshold_and_bias() -> None:
    assert not respond([12.0], params(trim=(3.0, 0.0))).spikes.any()
    assert membrane(respond([0.0, 0.0], params(trim=(0.0, 2.0)))) == [2.0, 3.0]


def test_a_longer_time_constant_leaks_less() -> None:
    assert membrane(respond([8.0, 0.0], params(leak=1.0)))[1] == round(8 * 0.5**0.5, 4)


def test_no_leak_has_no_leak_mismatch() -> None:
    assert membrane(respond([8.0, 0.0], params(decay=1.0, leak=0.3)))[1] == 8.0


def test_an_incomplete_reset_leaves_a_fraction() -> None:
    assert membrane(respond([20.0, 0.0], params(reset=-0.1)))[1] == pytest.approx(1.0)


def test_a_bias_mismatch_scales_the_bias() -> None:
    assert membrane(respond([0.0], params(trim=(0.0, 2.0), bias=0.1)))[0] == pytest.approx(2.2)


def test_a_dead_neuron_neither_fires_nor_flags() -> None:
    seen = respond([8.0, 99.0], params(dead=1.0))
    assert seen.window is not None
    assert not seen.spikes.any()
    assert not seen.window.any()


def test_thermal_noise_has_its_spread_and_leaks_with_the_membrane() -> None:
    sums = torch.zeros(60, 4000, 1)
    quiet = params(decay=0.9, noise=0.02)
    rng = torch.Generator().manual_seed(1)
    seen = integrate_and_fire(sums, quiet, NeuronRecord(False, True), rng)
    assert seen.membrane is not None
    first, last = seen.membrane[0].std(), seen.membrane[-1].std()
    assert float(first) == pytest.approx(0.2, rel=0.04)
    assert float(last) == pytest.approx(0.2 / (1 - 0.81) ** 0.5, rel=0.04)


def varied(columns: int) -> NeuronParams:
    rng = torch.Generator().manual_seed(2)
    relative = {n: 0.1 * torch.randn(columns, generator=rng) for n in NeuronMismatch._fields}
    off = NeuronMismatch(**{**relative, "dead": relative["dead"] > 0.2})
    registers = Registers(10.0, 0.8, *torch.randn(2, columns, generator=rng))
    return neuron_params(registers, off, 0.02, window=3.0)


def plainly(sums: torch.Tensor, params: NeuronParams, rng: torch.Generator) -> torch.Tensor:
    """Integrate and fire as the equation reads, all samples at once; return the spikes."""
    threshold, decay, after_spike, bias = (values.view(-1, 1, 1) for values in params[:4])
    membrane, fired = torch.zeros_like(sums[0]), torch.zeros_like(sums[0], dtype=torch.bool)
    gaussian, spikes = GaussianTable(rng), []
    for current in sums:
        membrane = membrane * torch.where(fired, after_spike, decay) + current + bias
        noise = gaussian.take(membrane.numel()).view(membrane.shape)
        membrane.add_(noise, alpha=params.thermal_noise)
        fired = membrane > threshold
        spikes.append(fired.float())
    return torch.stack(spikes)


@pytest.mark.parametrize("over", [False, True])
def test_neurons_in_parts_of_a_batch_follow_the_plain_equation_to_the_bit(over: bool) -> None:
    sums = torch.randn(6, 9, 32, 24, 24, generator=torch.Generator().manual_seed(3)) * 5
    neuron, record = varied(32), NeuronRecord(window=False, membrane=False)
    expected = plainly(sums, neuron, torch.Generator().manual_seed(4))
    out = sums.clone() if over else None
    shown = sums if out is None else out
    seen = integrate_and_fire(shown, neuron, record, torch.Generator().manual_seed(4), out)
    assert 0.01 < float(expected.mean()) < 0.9
    assert torch.equal(seen.spikes, expected)
    assert not torch.equal(plainly(sums, neuron, torch.Generator().manual_seed(5)), expected)
