"""Stimuli made from the student alone: what they look like, and how they are chosen."""

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.stimuli.matching import matching_stimuli
from ltl_core.calibration.stimuli.shapes import shapes
from ltl_core.calibration.stimuli.synthetic import synthetic_inputs
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.student.activity import ChannelActivity, activity_of, certainty, channel_rates
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples
from tests.blobs import World


def informed(world: World) -> Student:
    """Return the student with the activity of its channels on the lab's samples."""
    activity = activity_of(golden_targets(world.student, world.targets.samples))
    return world.student._replace(activity=activity)


def test_one_seed_makes_one_set_of_stimuli_within_the_range_of_inputs(world: World) -> None:
    for student in (world.student, informed(world)):
        made = synthetic_inputs(student, 40, seed=3)
        assert torch.equal(made, synthetic_inputs(student, 40, seed=3))
        assert not torch.equal(made, synthetic_inputs(student, 40, seed=4))
        assert made.shape == (40, *world.network.input_shape)
        assert made.min() >= 0
        assert made.max() <= world.student.input_full_scale
        assert len(made.flatten(1).unique(dim=0)) == 40


def test_stimuli_are_made_for_inputs_without_neighbourhood(world: World) -> None:
    network = NetworkSpec(
        input_shape=(5,), layers=(Linear(name="out", in_features=5, out_features=2, fires=False),)
    )
    made = synthetic_inputs(world.student._replace(network=network), 30, seed=1)
    assert made.shape == (30, 5)
    assert 0 < float(made.std()) < world.student.input_full_scale


@pytest.mark.parametrize("side", [(1, 9), (9, 1), (1, 1), (2, 3)])
def test_stimuli_are_made_for_pictures_of_any_size(world: World, side: tuple[int, int]) -> None:
    layer = Linear(name="out", in_features=2 * side[0] * side[1], out_features=2, fires=False)
    network = NetworkSpec(input_shape=(2, *side), layers=(layer,))
    made = synthetic_inputs(world.student._replace(network=network), 30, seed=1)
    assert made.shape == (30, 2, *side)
    assert made.isfinite().all()
    assert 0 < float(made.max()) <= world.student.input_full_scale


def test_every_second_picture_is_symmetric(world: World) -> None:
    made = synthetic_inputs(world.student, 128, seed=1)
    same = (made == made.flip(-1)).flatten(1).all(1)
    assert same[::2].all()
    assert not same[1::2].all()


def test_shapes_lie_on_an_empty_background() -> None:
    made = shapes(200, 2, (12, 20), torch.Generator().manual_seed(1))
    assert made.shape == (200, 2, 12, 20)
    assert made.min() >= 0
    assert made.max() <= 1
    empty = (made == 0).float().mean((1, 2, 3))
    assert 0.2 < float(empty.mean()) < 0.8
    assert float(empty.std()) > 0.1  # small things and large ones


def test_chosen_stimuli_drive_the_channels_as_samples_of_the_lab_do(world: World) -> None:
    student = informed(world)
    activity = student.activity
    assert activity is not None

    def distance(inputs: Tensor) -> float:
        rates = channel_rates(golden_targets(student, Samples(inputs, None)))
        found = [
            ((rates[name].mean(0) - wanted.mean) / wanted.spread.clamp(min=0.02)).square().mean()
            for name, wanted in activity.channels.items()
        ]
        return float(sum(found))

    chosen = distance(synthetic_inputs(student, 100, seed=1))
    as_made = distance(synthetic_inputs(world.student, 100, seed=1))
    assert chosen < 0.5 * as_made


def test_the_choice_brings_the_means_together_and_takes_no_candidate_twice() -> None:
    rates = {"a": torch.tensor([[0.0], [0.1], [0.4], [0.9], [0.6]])}
    wanted = {"a": ChannelActivity(torch.tensor([0.5]), torch.tensor([0.2]))}
    assert sorted(matching_stimuli(rates, wanted, 2).tolist()) == [2, 4]
    assert sorted(matching_stimuli(rates, wanted, 5).tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="6 stimuli cannot be chosen from 5"):
        matching_stimuli(rates, wanted, 6)


def test_a_student_keeps_the_activity_in_its_block(world: World) -> None:
    student = informed(world)
    again = Student.from_block(student.to_block())
    assert again.activity is not None
    assert student.activity is not None
    assert set(again.activity.channels) == {stage.name for stage in student.network.stages[:-1]}
    for name, found in again.activity.channels.items():
        assert torch.equal(found.mean, student.activity.channels[name].mean)
        assert torch.equal(found.spread, student.activity.channels[name].spread)
    assert torch.equal(again.activity.certainty, student.activity.certainty)
    assert Student.from_block(student._replace(activity=None).to_block()).activity is None


def test_a_student_is_more_certain_of_stimuli_to_verify_with(world: World) -> None:
    student = informed(world)
    of_lab = float(certainty(golden_targets(student, world.targets.samples)).mean())

    def mean_certainty(*, as_certain: bool) -> float:
        made = synthetic_inputs(student, 100, seed=1, as_certain=as_certain)
        return float(certainty(golden_targets(student, Samples(made, None))).mean())

    hesitating, chosen = (mean_certainty(as_certain=sure) for sure in (False, True))
    assert hesitating < of_lab - 0.1
    assert hesitating + 0.3 * (of_lab - hesitating) < chosen < of_lab + 0.05
