"""What the baselines compute: end-to-end gradients of measured layers, statistics, trims."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.methods.adabs import column_sums, correction_of, moments_of
from ltl_core.calibration.methods.gradient import GradientSource
from ltl_core.calibration.methods.method import MethodSetup
from ltl_core.calibration.methods.surrogate import SurrogateGradients
from ltl_core.calibration.methods.tandem import TandemGradients
from ltl_core.calibration.methods.trims import TrimSearch, TrimVector
from ltl_core.calibration.observe import observed_layers
from ltl_core.chip import Observable
from ltl_core.rules.bptt import Bptt
from ltl_core.rules.end_to_end import EndToEndRule, Model
from ltl_core.rules.tandem import Tandem
from ltl_core.settings import CalibrationSettings, MethodName, NeuronSettings, Readout
from ltl_core.spiking.forward import layer_traces, stage_sums
from ltl_core.spiking.gradient import Gradient
from ltl_core.teaching.targets import Batch
from tests.blobs import World, chip


def setup_of(world: World, method: MethodName, observable: Observable) -> MethodSetup:
    """An ideal chip that holds the golden student."""
    session = ChipSession(chip("ideal"), world.student)
    session.place()
    session.write(world.student.codes)
    settings = CalibrationSettings(method=method, observable=observable)
    return MethodSetup(world.student, world.student, session, settings, Readout.TEACHER)


def measured(source: GradientSource, setup: MethodSetup, batch: Batch) -> dict[str, Gradient]:
    recordings = setup.session.present(batch, setup.settings.observable)
    layers = observed_layers(setup.student, batch, recordings)
    return {
        n: g for some in source.gradients(setup.student, batch, layers) for n, g in some.items()
    }


def computed(rule: EndToEndRule, world: World, batch: Batch) -> Mapping[str, Gradient]:
    model = Model(world.network, world.student.weights(), world.student.neuron)
    return rule.learn(model, batch.inputs, batch.readout_loss(Readout.TEACHER)).gradients


def least_cosine(first: Mapping[str, Gradient], second: Mapping[str, Gradient]) -> float:
    def cosine(one: Tensor, other: Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))

    return min(cosine(first[name].weight, second[name].weight) for name in first)


@pytest.mark.parametrize("observable", [Observable.COUNTS, Observable.SPIKES])
def test_tandem_in_the_loop_is_tandem_learning_on_an_ideal_chip(
    world: World, observable: Observable
) -> None:
    setup = setup_of(world, MethodName.TANDEM, observable)
    batch, other = (world.targets.take(torch.arange(n, n + 64)) for n in (0, 64))
    found = measured(TandemGradients(setup), setup, batch)
    assert least_cosine(found, computed(Tandem(), world, batch)) > 0.97
    assert least_cosine(found, computed(Tandem(), world, other)) < 0.9


@pytest.mark.parametrize("observable", MethodName.SURROGATE.observables)
def test_surrogate_in_the_loop_is_bptt_on_an_ideal_chip(
    world: World, observable: Observable
) -> None:
    setup = setup_of(world, MethodName.SURROGATE, observable)
    batch, other = (world.targets.take(torch.arange(n, n + 64)) for n in (0, 64))
    found = measured(SurrogateGradients(setup), setup, batch)
    assert least_cosine(found, computed(Bptt(), world, batch)) > 0.97
    assert least_cosine(found, computed(Bptt(), world, other)) < 0.95


def test_column_sums_follow_from_membranes_and_spikes(world: World) -> None:
    student, inputs = world.student, world.targets.samples.inputs[:8]
    weights, neuron = student.weights(), student.neuron
    for trace in layer_traces(world.network, weights, inputs, neuron):
        sums = stage_sums(trace.stage, weights, trace.sources)
        wanted = sums.expand_as(trace.membrane)
        torch.testing.assert_close(column_sums(trace, neuron), wanted, atol=1e-4, rtol=1e-4)
        if trace.spikes is not None:
            wrong = NeuronSettings(decay=0.8 * neuron.decay)
            assert not torch.allclose(column_sums(trace, wrong), wanted, atol=1e-2)


def test_a_correction_gives_columns_the_golden_mean_and_deviation() -> None:
    rng = torch.Generator().manual_seed(0)
    golden = torch.randn((16, 32, 5), generator=rng)
    measured_sums = 0.8 * golden - 0.3
    moments = torch.cat((moments_of(measured_sums), moments_of(golden)))
    scale, shift = correction_of(moments, keeps_scale=False)
    torch.testing.assert_close((measured_sums + shift) / scale, golden, atol=1e-4, rtol=1e-4)
    scale, shift = correction_of(moments, keeps_scale=True)
    assert torch.equal(scale, torch.ones(5))
    torch.testing.assert_close((measured_sums + shift).mean((0, 1)), golden.mean((0, 1)))


def test_a_column_without_deviation_keeps_its_scale() -> None:
    silent = torch.zeros((4, 3))
    scale, shift = correction_of(silent, keeps_scale=False)
    assert torch.equal(scale, torch.ones(3))
    assert torch.equal(shift, torch.zeros(3))


def test_trims_as_a_vector_leave_weights_and_the_readouts_threshold(world: World) -> None:
    vector, readout = TrimVector(world.student), world.network.stages[-1].name
    start = vector.start
    for name, codes in vector.codes(start).items():
        assert all(map(torch.equal, codes, world.student.codes[name]))
    moved = vector.codes(start + 3)
    for name, codes in world.student.codes.items():
        assert torch.equal(moved[name].weight, codes.weight)
        assert torch.equal(moved[name].bias, (codes.bias + 3).clamp(-128, 127))
        threshold = codes.threshold if name == readout else codes.threshold + 3
        assert torch.equal(moved[name].threshold, threshold)
    assert float(vector.clipped(start + 1000).max()) == world.student.format.trim_max


def test_a_search_measures_more_loss_with_trims_that_are_wrong(world: World) -> None:
    search = TrimSearch(setup_of(world, MethodName.SPSA, Observable.COUNTS))
    batch = world.targets.take(torch.arange(32))
    right = search.measure(search.trims, batch)
    wrong = search.measure(search.trims + 60, batch)
    assert wrong.loss > right.loss
    assert len(right.quality.rate_error) == len(world.network.stages) - 1
