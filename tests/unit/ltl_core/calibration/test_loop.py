"""The calibration loop on simulated chips: what it measures and changes, and how it ends."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.observe import MeasuredGradients, observables, observed_layers
from ltl_core.calibration.result import Checkpoint
from ltl_core.calibration.samples import calibration_samples
from ltl_core.chip import Observable, Stimulus
from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.rules.select import select_rule
from ltl_core.settings import Budget, CalibrationSettings, Data, RuleName, StageName
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.evaluate import chip_quality, student_quality
from tests.blobs import World, chip

SHORT = CalibrationSettings(budget=Budget(samples=1600))


def _gradients(
    world: World,
    backend: SimulatedChip,
    rule: RuleName,
    observable: Observable,
    *,
    of_other_samples: bool = False,
) -> dict[str, Gradient]:
    batch = world.targets.take(torch.arange(64))
    stimulus = Stimulus(batch.inputs, world.student.neuron.steps)
    recording = backend.run(stimulus, observables(world.student, observable))
    layers = dict(recording.layers)
    if of_other_samples:
        for name, layer in layers.items():
            layers[name] = layer._replace(spikes=_reversed(layer.spikes))
    gradients = MeasuredGradients(world.student, batch, select_rule(rule), observable)
    return {
        name: gradient
        for layer in observed_layers(world.student, batch, layers.items())
        for name, gradient in gradients.of(layer).items()
    }


def _reversed(spikes: Tensor | None) -> Tensor | None:
    """Return the spikes with the last sample of the batch first."""
    return None if spikes is None else spikes.flip(1)


def _placed(world: World, name: str) -> SimulatedChip:
    backend = chip(name)
    backend.place(world.student.placement())
    for layer, codes in world.student.codes.items():
        backend.program(layer, codes.weight)
        backend.trim(layer, codes.threshold, codes.bias)
    return backend


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0))


@pytest.mark.parametrize("rule", [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE])
def test_gradients_from_the_window_agree_with_those_from_the_membrane(
    world: World, rule: RuleName
) -> None:
    backend = _placed(world, "ideal")
    full = _gradients(world, backend, rule, Observable.MEMBRANE)
    less = _gradients(world, backend, rule, Observable.WINDOW)
    for name, gradient in full.items():
        assert _cosine(less[name].weight, gradient.weight) > 0.97


@pytest.mark.parametrize("rule", [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE])
def test_the_readout_learns_from_spikes_what_it_learns_beside_membranes(
    world: World, rule: RuleName
) -> None:
    backend = _placed(world, "ideal")
    full = _gradients(world, backend, rule, Observable.MEMBRANE)
    less = _gradients(world, backend, rule, Observable.SPIKES)
    others = _gradients(world, backend, rule, Observable.SPIKES, of_other_samples=True)
    (matrix,) = world.network.stages[-1].matrices
    weights = full[matrix.name].weight
    assert _cosine(less[matrix.name].weight, weights) > 0.97
    assert (
        _cosine(others[matrix.name].weight, weights) < 0.95
    )  # one spike is not as good as another


def test_hidden_layers_learn_from_spikes_what_they_learn_from_their_counts(world: World) -> None:
    backend = _placed(world, "ideal")
    counts = _gradients(world, backend, RuleName.LTL_ONLINE, Observable.COUNTS)
    spikes = _gradients(world, backend, RuleName.LTL_ONLINE, Observable.SPIKES)
    window = _gradients(world, backend, RuleName.LTL_ONLINE, Observable.WINDOW)
    for layer in world.network.stages[:-1]:
        for name in (matrix.name for matrix in layer.matrices):
            torch.testing.assert_close(spikes[name], counts[name])
            assert not torch.allclose(window[name].weight, counts[name].weight, rtol=0.1)


def test_gradients_from_counts_point_the_same_way(world: World) -> None:
    backend = _placed(world, "ideal")
    full = _gradients(world, backend, RuleName.LTL_OFFLINE, Observable.MEMBRANE)
    counts = _gradients(world, backend, RuleName.LTL_OFFLINE, Observable.COUNTS)
    for name, gradient in full.items():
        assert _cosine(counts[name].weight, gradient.weight) > 0.5


def test_under_counts_the_readout_follows_the_rule_that_was_asked_for(world: World) -> None:
    backend = _placed(world, "ideal")
    readout = world.network.stages[-1].name

    def bias(rule: RuleName, observable: Observable) -> Tensor:
        return _gradients(world, backend, rule, observable)[readout].bias

    for rule, other in (
        (RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE),
        (RuleName.LTL_ONLINE, RuleName.LTL_OFFLINE),
    ):
        asked = bias(rule, Observable.MEMBRANE)
        assert torch.equal(bias(rule, Observable.COUNTS), asked)
        assert not torch.allclose(bias(other, Observable.COUNTS), asked, rtol=0.1)


def test_gradients_of_another_batch_would_not_agree(world: World) -> None:
    backend = _placed(world, "ideal")
    right = _gradients(world, backend, RuleName.LTL_ONLINE, Observable.WINDOW)
    rolled = world._replace(
        targets=world.targets._replace(
            rates={n: r.roll(1, 0) for n, r in world.targets.rates.items()}
        )
    )
    wrong = _gradients(rolled, backend, RuleName.LTL_ONLINE, Observable.WINDOW)
    for name in ("layer0", "layer5"):
        assert _cosine(right[name].weight, wrong[name].weight) < 0.95


def test_ideal_chip_is_the_ideal_student(world: World) -> None:
    found = chip_quality(_placed(world, "ideal"), world.student, world.test)
    golden = student_quality(world.student, world.test)
    assert found.accuracy == pytest.approx(golden.accuracy, abs=0.01)
    assert found.rate_error == pytest.approx(golden.rate_error, abs=0.005)


def test_a_harsh_chip_is_worse_than_the_ideal_student(world: World) -> None:
    found = chip_quality(_placed(world, "harsh"), world.student, world.test)
    golden = student_quality(world.student, world.test)
    assert found.rate_error[0] > golden.rate_error[0] + 0.02


def test_nothing_of_the_test_set_is_learned_from(world: World) -> None:
    lab = SHORT.model_copy(update={"data": Data.LAB})
    learn, verify, _, distinct = calibration_samples(world.student, world.targets, lab)
    held_out = round(SHORT.verification_share * world.targets.size)
    assert distinct == world.targets.size == learn.size + held_out
    assert verify.size == SHORT.verification_samples > held_out  # synthetic ones complete it
    seen = {tuple(x.flatten().tolist()) for x in learn.samples.inputs}
    assert not any(tuple(x.flatten().tolist()) in seen for x in verify.samples.inputs)


def test_too_few_samples_are_refused(world: World) -> None:
    one = world.targets.subset(torch.arange(1))
    with pytest.raises(SettingError, match="too few"):
        Calibration(chip("pcm"), world.student, one, world.test, SHORT)


def test_a_block_that_is_not_a_checkpoint_is_refused(world: World) -> None:
    with pytest.raises(CorruptTensorsError, match="not a checkpoint"):
        Checkpoint.from_block(world.targets.to_block())


def test_a_student_in_other_codes_is_refused(world: World) -> None:
    other = world.student._replace(format=world.student.format._replace(weight_max=7))
    with pytest.raises(SettingError, match="train a student with these `codes`"):
        Calibration(chip("pcm"), other, world.targets, world.test, SHORT)


def test_a_chip_on_which_nothing_was_changed_is_measured_once(world: World) -> None:
    asked = {"target_points": 100.0, "test_samples": None}
    settings = CalibrationSettings(data=Data.SYNTHETIC, **asked)
    calibration = Calibration(chip("pcm"), world.student, None, world.test, settings)
    list(calibration.steps())
    result = calibration.result
    assert result.after == result.before
    assert result.spent.samples_measured == world.test.size + settings.verification_samples


def test_the_first_stage_begins_with_what_was_measured_before_it(world: World) -> None:
    def measured_for_the_stage(data: Data) -> int:
        settings = CalibrationSettings(
            data=data,
            target_points=None,
            stages=(StageName.TRIMS,),
            budget=Budget(samples=64),
            test_samples=64,
        )
        targets = None if data is Data.SYNTHETIC else world.targets
        calibration = Calibration(chip("harsh"), world.student, targets, world.test, settings)
        list(calibration.steps())
        (stage,) = calibration.result.stages
        return stage.cost.samples_measured

    assert measured_for_the_stage(Data.SYNTHETIC) == 0
    assert measured_for_the_stage(Data.LAB) > 0  # samples of the lab, not those of before
