"""The ideal student: its neuron, its warm start, its codes and what it teaches."""

import pytest
import torch
from pydantic import ValidationError

from ltl_core.errors import CorruptTensorsError, SettingError, SilentLayerError
from ltl_core.settings import (
    CalibrationSettings,
    NeuronSettings,
    Readout,
    RuleName,
    TrainingSettings,
)
from ltl_core.spiking.gradient import Gradient
from ltl_core.spiking.neuron import (
    LIFState,
    count_spikes,
    lif_step,
    lif_window,
    reintegrate,
    sum_time,
)
from ltl_core.student.codes import CodeFormat, encode, fit_lsb
from ltl_core.student.evaluate import student_quality
from ltl_core.student.forward import student_traces
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet, evenly_spaced_indices
from ltl_core.teaching.teacher import collect, scale_of
from ltl_core.training.latent_weights import LatentWeights, LearningRates
from ltl_core.training.training import Training
from tests.blobs import World, blobs

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


def test_how_a_gradient_lies_in_memory_moves_no_code(world: World) -> None:
    name, rng = world.student.network.matrices[-1].name, torch.Generator().manual_seed(0)
    shape = world.student.codes[name].weight.shape
    gradient = Gradient(torch.randn(shape, generator=rng), torch.zeros(shape[0]))
    transposed = gradient._replace(weight=gradient.weight.T.contiguous().T)
    moved = []
    for each in (gradient, transposed):
        latent = LatentWeights(world.student, LearningRates(1e-2, 0.0, 0.0))
        latent.set_gradient(name, each)
        latent.step()
        moved.append(latent.tensors()[f"shadow:{name}.weight"])
    assert torch.equal(*moved)
    assert not torch.equal(moved[0], world.student.codes[name].weight.float())


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
    with pytest.raises(CorruptTensorsError, match="not a student"):
        Student.from_block(world.targets.to_block())


def test_some_samples_are_of_every_class_where_samples_lie_by_class() -> None:
    labels = torch.arange(10).repeat_interleave(100)
    assert labels[evenly_spaced_indices(1000, 50)].bincount().tolist() == [5] * 10
    assert len(labels[:50].unique()) == 1  # what the first ones would have been
    assert evenly_spaced_indices(3, 50).tolist() == [0, 1, 2]


def test_codes_stay_in_range_and_fit_best() -> None:
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    form = CodeFormat()
    lsb = fit_lsb(weight, form)

    def error(step: float) -> float:
        return float((weight - step * encode(weight / step, form)).square().mean())

    assert float(encode(weight / lsb, form).abs().max()) <= form.weight_max
    assert error(lsb) < min(error(lsb * 1.3), error(lsb * 0.7))


def test_student_spikes_are_those_of_its_codes(world: World) -> None:
    first = student_traces(world.student, world.test.samples.inputs[:8])[0]
    assert first.spikes is not None
    codes = world.student.codes["layer0"].weight.float()
    torch.testing.assert_close(
        world.student.weights()["layer0.weight"].flatten(1), codes * world.student.lsb["layer0"]
    )
    assert 0 < float(first.spikes.mean()) < 1


def test_readout_without_outputs_of_the_teacher_is_refused(world: World) -> None:
    targets = world.targets._replace(logits=None)
    settings = TrainingSettings(epochs=1, readout=Readout.TEACHER)
    with pytest.raises(SettingError, match="Collect them again"):
        list(Training(world.network, world.weights, targets, settings).epochs())
    bare = targets._replace(samples=targets.samples._replace(labels=None))
    with pytest.raises(SettingError, match="neither what it should learn nor outputs"):
        list(Training(world.network, world.weights, bare, TrainingSettings(epochs=1)).epochs())


def test_scales_of_a_batch_are_those_of_its_activations(world: World) -> None:
    whole = collect(world.network, world.weights, world.targets.samples, percentile=100)
    batch = whole.take(torch.arange(32)).rescaled(99.0)
    inputs = whole.samples.inputs[:32]
    fresh = collect(world.network, world.weights, Samples(inputs, whole.samples.labels[:32]))
    for name, rates in fresh.take(torch.arange(32)).rates.items():
        torch.testing.assert_close(batch.rates[name], rates, rtol=0, atol=0.01)
    stale = whole.take(torch.arange(32)).rates["layer5"]
    assert float((stale - fresh.take(torch.arange(32)).rates["layer5"]).abs().max()) > 0.05


def test_calibration_refuses_rules_that_are_not_local() -> None:
    with pytest.raises(ValidationError, match="ltl-online or ltl-offline"):
        CalibrationSettings(rule=RuleName.BPTT)
