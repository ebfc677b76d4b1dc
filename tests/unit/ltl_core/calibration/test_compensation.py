"""Drift compensation: registers alone bring an aged chip back to the golden student's answers."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.column_registers import with_gain, with_offset
from ltl_core.calibration.compensation import Compensation, CompensationResult
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.calibration.drift_stage import make_compensation
from ltl_core.chip import Register, Tuning, TuningInfo
from ltl_core.errors import FingerprintError, NotTunableError, SettingError
from ltl_core.student.evaluate import chip_logits, chip_quality
from ltl_core.student.golden import golden_targets
from tests.blobs import World, chip

MONTH = 30 * 86_400.0  # s
GAIN = Register(-64, 63, 1 / 128)
INFO = TuningInfo(
    adc_offset=Register(-32, 31, 0.5),
    adc_gain=GAIN,
    adc_range=Register(-16, 15, 0.25),
    threshold=Register(-128, 127, 0.005),
    leak=Register(-64, 63, 0.01),
    adc_code_max=127,
    current_max=2.0,
    current_lsb=1 / 512,
    readout_gain=Register(-63, 127, 1 / 64),
)


class Aged(NamedTuple):
    """A chip a month after its weights were published."""

    chip: SimulatedChip
    published: MeanFingerprint
    fresh: float  # `rate_error` at publication


class Kept(NamedTuple):
    """The same as a saved state, from which each test makes a chip of its own."""

    state: dict[str, Tensor]
    published: MeanFingerprint
    fresh: float


def published_chip(world: World) -> SimulatedChip:
    backend = chip("pcm")
    session = ChipSession(backend, world.student)
    session.place()
    session.write(world.student.codes)
    session.settle(60.0)
    return backend


@pytest.fixture(scope="module")
def kept(world: World) -> Kept:
    backend = published_chip(world)
    published, fresh = measure_fingerprint(backend), rate_error(world, backend)
    backend.advance(MONTH)
    return Kept(backend.state(), published, fresh)


@pytest.fixture
def one(kept: Kept) -> Aged:
    backend = chip("pcm")
    backend.restore(kept.state)
    return Aged(backend, kept.published, kept.fresh)


def compensated(world: World, one: Aged) -> CompensationResult:
    compensation = compensation_of(world, one)
    for _ in compensation.steps():
        pass
    return compensation.result


def compensation_of(world: World, one: Aged) -> Compensation:
    respond = ChipSession(one.chip, world.student).responses
    made = make_compensation(
        *(one.chip, world.student, one.published, respond), are_sequences=False
    )
    assert made is not None
    return made


def registers(world: World, backend: SimulatedChip) -> dict[str, Tuning]:
    return {stage.name: backend.tuning(stage.name) for stage in world.network.stages}


def same(first: Tuning, second: Tuning) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def rate_error(world: World, backend: SimulatedChip) -> float:
    """Of the last layer that fires, root mean square to the golden student's, spikes a step."""
    test = world.test.subset(torch.arange(100))
    return chip_quality(backend, world.student, test).rate_error[-1]


def readout_error(world: World, backend: SimulatedChip) -> float:
    """Root mean square of the logits' distance to the golden student's."""
    samples = world.test.samples.take(slice(100))
    wanted = golden_targets(world.student, samples).logits
    assert wanted is not None
    found = chip_logits(backend, world.student, samples.inputs)
    return float((found - wanted).square().mean().sqrt())


def test_most_of_what_a_month_took_is_regained(world: World, one: Aged) -> None:
    drifted, far = rate_error(world, one.chip), readout_error(world, one.chip)
    cells = {stage.name: one.chip.wear(stage.name) for stage in world.network.stages}
    result = compensated(world, one)
    assert result.compensated
    *hidden, _ = zip(result.before.layers, result.after.layers, strict=True)
    assert all(after.score < 0.25 * before.score for before, after in hidden)
    assert readout_error(world, one.chip) < 0.25 * far
    assert all(1.3 < layer.factor < 2.0 for layer in result.layers)
    assert (drifted - rate_error(world, one.chip)) / (drifted - one.fresh) > 0.95
    for name, before in cells.items():
        assert torch.equal(one.chip.wear(name), before)  # no cell was written


def test_a_factor_turned_the_wrong_way_makes_the_chip_worse(world: World, one: Aged) -> None:
    drifted = rate_error(world, one.chip)
    before = drift_between(measure_fingerprint(one.chip), one.published).score
    for stage in world.network.stages:
        gain = torch.full((stage.columns,), 1 / 1.6)
        tuning = one.chip.tuning(stage.name)
        info = one.chip.info.tuning
        assert info is not None
        one.chip.tune(
            stage.name, with_gain(tuning, gain.double(), info, is_readout=stage.is_readout)
        )
    assert rate_error(world, one.chip) > drifted
    assert drift_between(measure_fingerprint(one.chip), one.published).score > before


def test_gains_are_relative_to_the_codes_of_an_earlier_tuning(world: World, kept: Kept) -> None:
    backend, earlier = published_chip(world), 1 - 20 / 128
    for stage in world.network.stages:
        tuning = backend.tuning(stage.name)
        backend.tune(stage.name, tuning._replace(adc_gain=tuning.adc_gain - 20))
    published = measure_fingerprint(backend)
    backend.advance(MONTH)
    far = readout_error(world, backend)
    result = compensated(world, Aged(backend, published, 0.0))
    assert readout_error(world, backend) < 0.25 * far
    assert all(1.3 < layer.factor * earlier < 2.0 for layer in result.layers)
    assert rate_error(world, backend) < 1.05 * kept.fresh
    for tuning in registers(world, backend).values():
        assert (tuning.adc_gain < 63).any()  # from -20 on, a factor of 1.6 stays in range


def test_registers_are_put_back_if_the_answers_come_no_nearer(
    world: World, one: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registers(world, one.chip)
    monkeypatch.setattr(
        "ltl_core.calibration.compensation.with_gain",
        lambda tuning, gain, info, *, is_readout: with_gain(
            tuning, torch.full_like(gain, 0.5), info, is_readout=is_readout
        ),
    )
    result = compensated(world, one)
    assert not result.compensated
    assert result.after == result.before
    assert all(layer.factor == 1.0 for layer in result.layers)
    for name, tuning in registers(world, one.chip).items():
        assert same(tuning, before[name])


def test_a_chip_without_registers_is_not_compensated(
    world: World, one: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one.chip, "_info", one.chip.info._replace(tuning=None))
    respond = ChipSession(one.chip, world.student).responses
    made = (one.chip, world.student, one.published, respond)
    assert make_compensation(*made, are_sequences=False) is None
    stimuli = golden_targets(world.student, world.test.samples)
    with pytest.raises(NotTunableError, match="has no registers"):
        Compensation(one.chip, world.student.placement(), one.published, stimuli, respond)


def test_a_fingerprint_of_another_network_is_refused(world: World, one: Aged) -> None:
    other = one.published._replace(rates={"elsewhere": torch.zeros(4)})
    with pytest.raises(FingerprintError, match="elsewhere"):
        compensated(world, one._replace(published=other))


def test_there_is_no_result_before_the_end(world: World, one: Aged) -> None:
    with pytest.raises(SettingError, match="has not ended"):
        _ = compensation_of(world, one).result


def tuning_of(gain: Tensor) -> Tuning:
    zeros = torch.zeros(gain.shape[1], dtype=torch.int32)
    rows = torch.zeros(len(gain), dtype=torch.int32)
    return Tuning(torch.zeros_like(gain), gain, zeros, zeros, rows)


def total(tuning: Tuning, *, is_readout: bool) -> Tensor:
    """The gain of each column in all, as a mean over the rows of tiles."""
    gain = (1 + tuning.adc_gain / 128).mean(0)
    return (
        gain * (1 + tuning.readout_gain / 64)
        if is_readout
        else gain / (1 + 0.005 * tuning.threshold)
    )


@pytest.mark.parametrize("is_readout", [False, True])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3, 1.9])
def test_registers_make_up_the_gain_also_beyond_the_converters(
    factor: float, is_readout: bool
) -> None:
    start = tuning_of(torch.tensor([[0, 10, -5], [4, 0, 5]], dtype=torch.int32))
    found = with_gain(start, torch.full((3,), factor).double(), INFO, is_readout=is_readout)
    achieved = total(found, is_readout=is_readout) / total(start, is_readout=is_readout)
    assert achieved.tolist() == pytest.approx([factor] * 3, rel=0.03)


@pytest.mark.parametrize("rows", [1, 3])
def test_converters_of_a_column_share_its_offset(rows: int) -> None:
    start = tuning_of(torch.zeros(rows, 3, dtype=torch.int32))
    found = with_offset(start, torch.tensor([4.0, -2.5, 1000.0]).double(), INFO)
    assert found.adc_offset.sum(0).tolist() == [8, -5, rows * 31]  # in steps of 0.5 LSB, at most 31
    assert int(found.adc_offset[:, 0].max() - found.adc_offset[:, 0].min()) <= 1
    assert not start.adc_offset.any()


def test_a_readout_without_a_digital_gain_ends_at_the_range_of_its_converters() -> None:
    start = tuning_of(torch.zeros(1, 2, dtype=torch.int32))
    info = INFO._replace(readout_gain=None)
    found = with_gain(start, torch.full((2,), 1.9).double(), info, is_readout=True)
    assert found.adc_gain.tolist() == [[63, 63]]
    assert found.readout_gain == 0
