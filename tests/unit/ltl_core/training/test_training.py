"""What training does to the codes, and what it refuses."""

import pytest
import torch

from ltl_core.chip import LayerCodes
from ltl_core.errors import SettingError
from ltl_core.settings import (
    CodeSettings,
    Readout,
    RuleName,
    TrainingSettings,
)
from ltl_core.spiking.gradient import Gradient
from ltl_core.training.latent_weights import LatentWeights, LearningRates, StepSizes
from ltl_core.training.training import Training
from tests.blobs import World


def test_strides_of_a_gradient_change_no_code(world: World) -> None:
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


def test_readout_without_outputs_of_the_teacher_is_refused(world: World) -> None:
    targets = world.targets._replace(logits=None)
    settings = TrainingSettings(epochs=1, readout=Readout.TEACHER)
    with pytest.raises(SettingError, match="Collect them again"):
        list(Training(world.network, world.weights, targets, settings).epochs())
    bare = targets._replace(samples=targets.samples._replace(labels=None))
    with pytest.raises(SettingError, match="neither what it should learn nor outputs"):
        list(Training(world.network, world.weights, bare, TrainingSettings(epochs=1)).epochs())


def test_names_in_a_checkpoint_are_those_of_checkpoints_written_before(world: World) -> None:
    settings = TrainingSettings(epochs=1, batch=16, rule=RuleName.SHORTCUT)
    targets = world.targets.subset(torch.arange(16))
    training = Training(world.network, world.weights, targets, settings)
    list(training.epochs())
    last = {name for name in training.checkpoint().tensors if "layer7." in name}
    fields = {f"layer7.{field}" for field in ("weight", "bias", "threshold")}
    moved, moments = ("layer7.weight", "layer7.bias"), ("step", "exp_avg", "exp_avg_sq")
    assert last == (
        {f"shadow:{field}" for field in fields}
        | {f"codes:{field}" for field in fields}
        | {f"adam:{field}:{moment}" for field in moved for moment in moments}
    )
    rule = {name for name in training.checkpoint().tensors if name.startswith("rule:")}
    branch = {f"layer0.{field}" for field in ("weight", "bias")}
    assert rule > {f"rule:{field}" for field in branch} | {
        f"rule:adam:{field}:{moment}" for field in branch for moment in moments
    }
    assert "rule:balance" in rule


def test_cells_that_were_given_up_keep_their_codes_and_others_move(world: World) -> None:
    latent = LatentWeights(world.student, StepSizes(4.0, 0.0, 0.0))
    name = world.student.network.stages[0].name
    before = latent.codes[name].weight.clone()
    given_up = torch.zeros_like(before, dtype=torch.bool)
    given_up[:, ::2] = True
    latent.give_up({name: given_up})
    gradient = Gradient(-torch.ones(before.shape), torch.zeros(len(before)))
    latent.set_gradient(name, gradient)
    latent.step()
    moved = latent.update_codes()[name].weight != before
    assert not moved[given_up].any()
    assert moved[~given_up].any()  # control


def test_if_few_cells_may_be_written_it_is_those_that_moved_farthest(world: World) -> None:
    latent = LatentWeights(world.student, StepSizes(4.0, 0.0, 0.0))
    before = {name: codes.weight.clone() for name, codes in latent.codes.items()}
    for name, codes in before.items():
        draw = torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))
        latent.set_gradient(name, Gradient(draw, torch.zeros(len(codes))))
    latent.step()
    everything = LatentWeights(world.student, StepSizes(4.0, 0.0, 0.0))
    everything.load(latent.tensors())
    written = _changed(everything.update_codes(), before)
    few = _changed(latent.update_codes(cells_max=20), before)
    assert 0 < few <= 20 < written  # control
    assert _changed(latent.update_codes(), before) == written  # the others follow


def _changed(codes: dict[str, LayerCodes], before: dict[str, torch.Tensor]) -> int:
    return sum(int((codes[name].weight != old).sum()) for name, old in before.items())


def test_a_student_is_trained_in_the_codes_of_its_chips(world: World) -> None:
    targets = world.targets.subset(torch.arange(64))
    largest = {}
    for codes in (CodeSettings(weight_max=7, trim_lsb=1 / 128), CodeSettings()):
        settings = TrainingSettings(epochs=1, batch=16, codes=codes)
        training = Training(world.network, world.weights, targets, settings)
        list(training.epochs())
        student = training.student
        assert student.format._asdict() == codes.model_dump()
        largest[codes.weight_max] = {
            int(layer.weight.abs().max()) for layer in student.codes.values()
        }
    assert max(largest[7]) == 7
    assert max(largest[63]) > 7  # the control: the usual codes are finer
