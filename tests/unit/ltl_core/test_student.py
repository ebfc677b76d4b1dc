"""The ideal student: its neuron, its warm start, its codes and what it teaches."""

import pytest
import torch

from ltl_core.codes import CodeFormat, encode, fit_lsb
from ltl_core.errors import CorruptTensorsError, SettingError, SilentLayerError
from ltl_core.evaluate import student_quality
from ltl_core.neuron import LIFState, lif_step, lif_window, reintegrate
from ltl_core.settings import NeuronSettings, TrainingSettings
from ltl_core.student import Student, run_student
from ltl_core.targets import TargetSet
from ltl_core.teacher import collect, scale_of, teacher_accuracy
from ltl_core.training import Training, start_student
from tests.unit.ltl_core.worlds import World, blobs

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


def test_model_reset_by_its_own_spikes_is_the_neuron() -> None:
    membranes, spikes = lif_window(_currents(), NEURON)
    torch.testing.assert_close(reintegrate(_currents(), spikes, NEURON), membranes)
    assert not torch.allclose(reintegrate(_currents(), 1 - spikes, NEURON), membranes, atol=0.1)


def test_scale_is_the_nearest_rank() -> None:
    activation = torch.arange(1.0, 1001.0)
    assert scale_of("layer", activation, 99.0) == 990.0
    assert scale_of("layer", activation, 100.0) == 1000.0
    assert scale_of("layer", torch.tensor([0.0] * 999 + [5.0]), 99.0) == 5.0


def test_silent_teacher_layer_is_refused(world: World) -> None:
    weights = world.weights | {"layer5.bias": torch.full((16,), -1e3)}
    with pytest.raises(SilentLayerError, match="layer5"):
        collect(world.network, weights, blobs(20, seed=9))


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1])
def test_percentile_out_of_range_is_refused(world: World, percentile: float) -> None:
    with pytest.raises(SettingError, match="percentile"):
        collect(world.network, world.weights, blobs(20, seed=9), percentile=percentile)


def test_targets_are_the_teacher_s_rates_in_eight_bits(world: World) -> None:
    batch = world.targets.take(torch.arange(50))
    for name, rates in batch.rates.items():
        assert float(rates.min()) >= 0
        assert float(rates.max()) == 1  # one in a hundred is clipped
        torch.testing.assert_close((rates * 255).round(), rates * 255, atol=1e-4, rtol=0)
        assert world.targets.scales[name] > 0


def test_target_set_and_student_survive_their_blocks(world: World) -> None:
    again = TargetSet.from_block(world.targets.to_block())
    assert again.scales == world.targets.scales
    assert all(torch.equal(again.rates[n], world.targets.rates[n]) for n in again.rates)
    student = Student.from_block(world.student.to_block())
    assert student_quality(student, world.test) == student_quality(world.student, world.test)
    with pytest.raises(CorruptTensorsError, match="no student"):
        Student.from_block(world.targets.to_block())


def test_training_comes_near_the_teacher_and_its_rates(world: World) -> None:
    teacher = teacher_accuracy(world.network, world.weights, world.test.samples)
    start = start_student(world.network, world.weights, world.targets, NEURON)
    before, after = student_quality(start, world.test), student_quality(world.student, world.test)
    assert after.accuracy > teacher - 0.02
    assert all(b < a for a, b in zip(before.rate_error, after.rate_error, strict=True))


def test_training_goes_on_from_its_checkpoint_as_if_never_stopped(world: World) -> None:
    settings = TrainingSettings(epochs=3, seed=5)
    whole = Training(world.network, world.weights, world.targets, settings)
    for progress in whole.epochs():
        if progress.step == 1:
            checkpoint = whole.checkpoint()
    resumed = Training(world.network, world.weights, world.targets, settings, checkpoint)
    assert [progress.step for progress in resumed.epochs()] == [2, 3]
    for name, codes in whole.student.codes.items():
        assert all(map(torch.equal, codes, resumed.student.codes[name]))


def test_codes_stay_in_range_and_fit_best() -> None:
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    form = CodeFormat()
    lsb = fit_lsb(weight, form)

    def error(step: float) -> float:
        return float((weight - step * encode(weight / step, form)).square().mean())

    assert float(encode(weight / lsb, form).abs().max()) <= form.weight_max
    assert error(lsb) < min(error(lsb * 1.3), error(lsb * 0.7))


def test_student_spikes_are_those_of_its_codes(world: World) -> None:
    first = run_student(world.student, world.test.samples.inputs[:8])[0]
    assert first.spikes is not None
    codes = world.student.codes["layer0"].weight.float()
    torch.testing.assert_close(
        world.student.weights()["layer0.weight"].flatten(1), codes * world.student.lsb["layer0"]
    )
    assert 0 < float(first.spikes.mean()) < 1
