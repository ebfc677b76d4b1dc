"""What training does to the codes, and what it refuses."""

import pytest
import torch

from ltl_core.errors import SettingError
from ltl_core.settings import (
    Readout,
    RuleName,
    TrainingSettings,
)
from ltl_core.spiking.gradient import Gradient
from ltl_core.training.latent_weights import LatentWeights, LearningRates
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
