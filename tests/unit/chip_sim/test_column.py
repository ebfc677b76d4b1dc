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
    assert seen.spikes.flatten().tolist() == [False, True, False, False]


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
