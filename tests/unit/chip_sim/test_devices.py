"""The memory cells against the published models: moments of 200,000 devices at every level."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from chip_sim.clock import log_age
from chip_sim.devices.device import (
    DeviceModel,
    DriftDraw,
    KnownAge,
    PerfectDevice,
    normal,
    power_law_drift,
)
from chip_sim.devices.hermes import HermesDevice
from chip_sim.devices.pcm import PcmDevice
from chip_sim.devices.reram import ReramDevice
from chip_sim.flicker_noise import FlickerNoise

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "aihwkit.json").read_text())
DEVICES = 200_000
MICRO = 1e-6
DAY = 86400.0
FLICKER, NO_FLICKER = "drifted_and_flickering", "drifted"
ROWS = [(name, row) for name in ("pcm", "hermes") for row in REFERENCE[name]["rows"]]
IDS = [f"{name}-{row['r']}" for name, row in ROWS]


def model(name: str, scale: float = 1.0) -> DeviceModel:
    g_max = REFERENCE[name]["g_max"] * MICRO
    return PcmDevice(g_max, scale) if name == "pcm" else HermesDevice(g_max, scale)


def written(
    device: DeviceModel, target: float, seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor, DriftDraw]:
    rng = torch.Generator().manual_seed(seed)
    g_target = torch.full((DEVICES,), target)
    g = (g_target + device.programming_noise(g_target) * normal(g_target, rng)).clamp(min=0)
    return g_target, g, device.draw_drift(g_target, g, rng)


def aged(device: DeviceModel, seconds: float) -> KnownAge:
    elapsed = torch.full((DEVICES,), seconds)
    flicker = FlickerNoise(9, "devices", (DEVICES,)).at(seconds, elapsed, device.t0)
    return KnownAge(elapsed, log_age(elapsed, device.t0), flicker)


def agrees(values: torch.Tensor, mean: float, sd: float) -> bool:
    """Mean within five standard errors, both sides' sampling counted; sd within 1.5 %."""
    error = sd / math.sqrt(DEVICES) + sd / 1000 + 1e-5
    return bool(abs(values.mean() - mean) < 5 * error and abs(values.std() / sd - 1) < 0.015)


def population(
    name: str, row: dict[str, Any], *, kind: str, scale: float = 1.0, wander: float = 1.0
) -> list[bool]:
    """Whether the devices agree with the reference, at each of its times."""
    device = model(name, scale)
    g_target, g, draw = written(device, row["r"] * REFERENCE[name]["g_max"] * MICRO)
    size = wander if kind == FLICKER else 0.0
    draw = draw._replace(wander=draw.wander * size)

    def at(time: float) -> torch.Tensor:
        age = aged(device, time)
        age = age._replace(flicker=age.flicker * size)
        return device.conductance(device.constants(g_target, g, draw), age).double() / MICRO

    return [agrees(at(float(time)), mean, sd) for time, mean, sd in row[kind]]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
@pytest.mark.parametrize("kind", [FLICKER, NO_FLICKER])
def test_conductances_agree_with_the_reference(name: str, row: dict[str, Any], kind: str) -> None:
    assert all(population(name, row, kind=kind))


@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_drift_exponents_agree_with_the_reference(name: str, row: dict[str, Any]) -> None:
    *_, draw = written(model(name), row["r"] * REFERENCE[name]["g_max"] * MICRO)
    assert agrees(draw.nu, *row["nu"])


@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_programming_noise_five_percent_off_would_be_seen(
    name: str, row: dict[str, Any], wrong: float
) -> None:
    assert not population(name, row, kind=NO_FLICKER, scale=wrong)[0]


@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize("name", ["pcm", "hermes"])
def test_flicker_five_percent_off_would_be_seen(name: str, wrong: float) -> None:
    assert not population(name, REFERENCE[name]["rows"][-1], kind=FLICKER, wander=wrong)[0]


@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize(("name", "row"), ROWS, ids=IDS)
def test_drift_exponents_five_percent_off_would_be_seen(
    name: str, row: dict[str, Any], wrong: float
) -> None:
    *_, draw = written(model(name), row["r"] * REFERENCE[name]["g_max"] * MICRO)
    assert not agrees(draw.nu * wrong, *row["nu"])


@pytest.mark.parametrize("r", [0.25, 0.6, 0.93])
def test_between_the_levels_of_the_reference_the_closed_form_holds(r: float) -> None:
    _, g, draw = written(PcmDevice(25e-6), r * 25e-6)
    sigma = 0.26348 + 1.9650 * r - 1.1731 * r**2
    assert agrees(g.double() / MICRO, r * 25, sigma)
    assert agrees(draw.nu, max(0.0244 - 0.0155 * math.log(r), 0.049), _pcm_nu_spread(r))


def test_drift_follows_its_exponent() -> None:
    g, nu = torch.full((4,), 10e-6), torch.full((4,), 0.05)
    decade = power_law_drift(g, -nu, log_age(torch.full((4,), 9 * 20.0), 20.0))
    torch.testing.assert_close(decade / g, torch.full((4,), 10**-0.05))


def test_without_flicker_nothing_happens_at_the_instant_of_the_write() -> None:
    g_target, g, draw = written(PcmDevice(25e-6), 10e-6)
    still = DriftDraw(draw.nu, torch.zeros_like(draw.wander))
    now = PcmDevice(25e-6).conductance(
        PcmDevice(25e-6).constants(g_target, g, still), aged(PcmDevice(25e-6), 0.0)
    )
    torch.testing.assert_close(now, g, rtol=0, atol=0)


@pytest.mark.parametrize("device", [PcmDevice, HermesDevice, ReramDevice])
def test_another_g_max_rescales_the_noise(
    device: type[PcmDevice] | type[HermesDevice] | type[ReramDevice],
) -> None:
    published = device.g_max_published
    targets = torch.linspace(0, 1, 7)
    half = device(published / 2).programming_noise(targets * published / 2)
    torch.testing.assert_close(half * 2, device(published).programming_noise(targets * published))


@pytest.mark.parametrize("r", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    ("seconds", "fit"),
    [
        (1.0, (0.348, 16.030, -43.853, 45.393, -16.815)),
        (DAY, (0.701, 22.086, -50.773, 47.095, -16.458)),
        (2 * DAY, (0.782, 20.274, -43.507, 37.062, -11.934)),
    ],
)
def test_reram_spreads_as_published(r: float, seconds: float, fit: tuple[float, ...]) -> None:
    assert _reram_spread(r, seconds) == pytest.approx(_polynomial(r, fit), rel=0.015)


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_reram_spread_five_percent_off_would_be_seen(wrong: float) -> None:
    right = _polynomial(0.5, ReramDevice.after_a_day)
    assert _reram_spread(0.5, DAY, wrong) != pytest.approx(right, rel=0.015)


def test_reram_relaxes_along_one_direction() -> None:
    device = ReramDevice(40e-6)
    g_target, g, draw = written(device, 20e-6)
    hour, day = (
        device.conductance(device.constants(g_target, g, draw), aged(device, t)) - g
        for t in (3600.0, DAY)
    )
    assert bool((hour.abs() <= day.abs()).all())
    assert float(torch.corrcoef(torch.stack((hour, day)))[0, 1]) > 0.9999


def test_a_perfect_device_keeps_its_conductance_for_a_year() -> None:
    g = torch.linspace(0, 25e-6, 9)
    draw = PerfectDevice().draw_drift(g, g, torch.Generator())
    later = PerfectDevice().conductance(
        PerfectDevice().constants(g, g, draw), KnownAge(*(torch.full((9,), 365 * DAY),) * 3)
    )
    torch.testing.assert_close(later, g, rtol=0, atol=0)


@pytest.mark.parametrize(("seconds", "alpha", "error"), REFERENCE["product_512x512_pcm"])
def test_a_drifted_product_agrees_with_the_reference(
    seconds: float, alpha: float, error: float
) -> None:
    ratio, left = _drifted_product(seconds)
    assert ratio == pytest.approx(alpha, rel=0.001)
    assert left == pytest.approx(error, rel=0.015)


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_a_product_with_noise_five_percent_off_would_be_seen(wrong: float) -> None:
    seconds, _, error = REFERENCE["product_512x512_pcm"][0]
    assert _drifted_product(seconds, wrong)[1] != pytest.approx(error, rel=0.015)


def _drifted_product(seconds: float, noise: float = 1.0) -> tuple[float, float]:
    """Drift compensation, and relative error of the compensated 512 x 512 product.

    After programming the reference keeps only the difference of a pair, scaled to g_max again; our
    devices keep their own residue, so they are folded together here before they are compared.
    """
    rng = torch.Generator().manual_seed(3)
    weight = (torch.randn(512, 512, generator=rng) / 512**0.5).clamp(-3 / 512**0.5, 3 / 512**0.5)
    device, g_max = PcmDevice(25e-6, noise), 25e-6
    scale = g_max / weight.abs().max()
    target = torch.stack((weight, -weight)).clamp(min=0) * scale
    g = (target + device.programming_noise(target) * normal(target, rng)).clamp(min=0)
    net = g[0] - g[1]
    stretch = g_max / net.abs().max()
    g = torch.stack((net, -net)).clamp(min=0) * stretch
    draw = device.draw_drift(target, g, rng)
    elapsed = torch.full_like(g, seconds)
    flicker = FlickerNoise(3, "product", tuple(g.shape)).at(seconds, elapsed, device.t0)
    now = device.conductance(
        device.constants(target, g, draw), KnownAge(elapsed, log_age(elapsed, device.t0), flicker)
    )
    ratio = float(g.sum() / now.sum())
    inputs = torch.randn(256, 512, generator=rng)
    answer = inputs @ (now[0] - now[1]).T * (ratio / stretch / scale)
    ideal = inputs @ weight.T
    return ratio, float((answer - ideal).norm() / ideal.norm())


def _reram_spread(r: float, seconds: float, scale: float = 1.0) -> float:
    """Root mean square deviation from the target, doubled halves at zero, microsiemens."""
    device = ReramDevice(40e-6, scale)
    g_target = torch.full((DEVICES,), r * 40e-6)
    rng = torch.Generator().manual_seed(2)
    g = g_target + device.programming_noise(g_target) * normal(g_target, rng)
    raised = 20e-6  # far from the clamp at zero, which is not what is measured here
    draw = device.draw_drift(g_target, g, rng)
    later = device.conductance(device.constants(g_target, g + raised, draw), aged(device, seconds))
    return float((later - raised - g_target).std() / MICRO)


def _polynomial(r: float, fit: tuple[float, ...]) -> float:
    return sum(coefficient * r**power for power, coefficient in enumerate(fit))


def _pcm_nu_spread(r: float) -> float:
    return max(-0.0059 - 0.0125 * math.log(r), 0.008)
