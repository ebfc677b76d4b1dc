"""Writing within a tolerance, against closed forms of a truncated normal distribution."""

import math

import pytest
import torch

from chip_sim.devices.device import DeviceModel
from chip_sim.devices.pcm import PcmDevice
from chip_sim.devices.reram import ReramDevice
from chip_sim.spec import WriteSpec
from chip_sim.writer import Fault, Written, write

DEVICES = 100_000
WITHIN_A_SIGMA = math.erf(1 / math.sqrt(2))
BLIND, VERIFIED = WriteSpec(), WriteSpec(tolerance_sigma=1.0, pulses_max=8)


def written(spec: WriteSpec, device: DeviceModel | None = None, target: float = 12e-6) -> Written:
    free = Fault(torch.zeros(DEVICES, dtype=torch.bool), torch.zeros(DEVICES))
    model = device or PcmDevice(25e-6)
    rng = torch.Generator().manual_seed(4)
    return write(torch.full((DEVICES,), target), free, model, spec, rng)


def sigma(target: float = 12e-6) -> float:
    return float(PcmDevice(25e-6).programming_noise(torch.tensor([target])))


def test_a_blind_pulse_is_one_pulse_and_reports_no_failure() -> None:
    result = written(BLIND)
    assert int(result.pulses.sum()) == DEVICES
    assert not result.failed.any()
    assert float(result.g.double().std()) == pytest.approx(sigma(), rel=0.015)


def test_verified_devices_are_within_tolerance() -> None:
    result = written(VERIFIED)
    error = (result.g - 12e-6).abs()
    assert float(error[~result.failed].max()) <= sigma() * 1.0001
    assert float(error[result.failed].min()) > sigma() * 0.9999


def test_the_residue_is_that_of_a_cut_off_normal_distribution() -> None:
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    right = sigma() * math.sqrt(1 - 2 * density / WITHIN_A_SIGMA)
    result = written(VERIFIED)
    assert float(result.g[~result.failed].double().std()) == pytest.approx(right, rel=0.015)
    assert float(written(BLIND).g.double().std()) != pytest.approx(right, rel=0.015)


def test_pulses_follow_a_geometric_distribution() -> None:
    expected = (1 - (1 - WITHIN_A_SIGMA) ** 8) / WITHIN_A_SIGMA
    assert float(written(VERIFIED).pulses.float().mean()) == pytest.approx(expected, rel=0.01)
    tighter = VERIFIED.model_copy(update={"tolerance_sigma": 0.95})
    assert float(written(tighter).pulses.float().mean()) != pytest.approx(expected, rel=0.01)


def test_a_budget_that_is_spent_is_a_failure() -> None:
    once = WriteSpec(tolerance_sigma=1.0, pulses_max=1)
    missed = float(written(once).failed.float().mean())
    assert missed == pytest.approx(1 - WITHIN_A_SIGMA, abs=0.01)


def test_a_tolerance_in_siemens_holds() -> None:
    spec = WriteSpec(tolerance_siemens=1e-6, pulses_max=30)
    result = written(spec, ReramDevice(40e-6), 20e-6)
    assert float((result.g - 20e-6).abs()[~result.failed].max()) <= 1.0001e-6


def test_stuck_devices_fail_and_stay_where_they_are() -> None:
    target = torch.tensor([0.0, 10e-6, 25e-6, 0.0])
    fault = Fault(torch.ones(4, dtype=torch.bool), torch.tensor([0.0, 0.0, 25e-6, 25e-6]))
    result = write(target, fault, PcmDevice(25e-6), VERIFIED, torch.Generator().manual_seed(1))
    assert torch.equal(result.g, fault.g)
    assert result.failed.tolist() == [False, True, False, True]
    assert result.pulses.tolist() == [1, 8, 1, 8]


def test_a_budget_without_a_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="one blind pulse"):
        WriteSpec(pulses_max=3)
