"""A chip that reads events comes back by synthetic sequences, without a recording of the lab."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.judge import compare
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.stimuli.motion import synthetic_sequences
from ltl_core.calibration.stimuli.synthetic import synthetic_inputs
from ltl_core.errors import LayerShapeError, SettingError
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import unpack
from ltl_core.settings import (
    Budget,
    CalibrationSettings,
    Data,
    NeuronSettings,
    StageName,
    TrainingSettings,
)
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet
from ltl_core.teaching.teacher import collect
from ltl_core.training.training import Training
from tests.data.make_motion import TEACHER
from tests.motion import averaged, sequences

STEPS = 8


class Lab(NamedTuple):
    """A golden student of moving digits, with recordings to learn from and to test with."""

    student: Student
    learn: TargetSet
    test: TargetSet


@pytest.fixture(scope="module")
def lab() -> Lab:
    weights, about = unpack(TEACHER.read_bytes())
    network = NetworkSpec.model_validate_json(about["network"])
    train, test = sequences(0, 120), sequences(1000, 60)
    targets = collect(network, weights, averaged(train), percentile=99.9)._replace(samples=train)
    neuron = NeuronSettings(steps=STEPS, warmup=5)
    settings = TrainingSettings(epochs=3, batch=16, learning_rate=5e-3, neuron=neuron)
    training = Training(network, weights, targets, settings)
    for _ in training.epochs():
        pass
    student = training.student
    return Lab(student, golden_targets(student, train), golden_targets(student, test))


TUNED = (StageName.TUNE,)
LEARNED = (*TUNED, StageName.TRIMS, StageName.CELLS)
LEFT = 0.4  # of the divergence, at most


def losses(
    lab: Lab, learn: TargetSet | None, data: Data, stages: tuple[StageName, ...] = LEARNED
) -> tuple[float, float]:
    """Return the divergence from the golden student on recordings, before and after."""
    settings = CalibrationSettings(
        data=data,
        budget=Budget(samples=400),
        stages=stages,
        target_points=None,
        settle_s=0.0,
    )
    chip = make_chip("event-chip", preset("harsh"), seed=5)
    session = ChipSession(chip, lab.student)
    session.place()
    session.write(lab.student.codes)
    before = loss_of(session, lab.test)
    for _ in Calibration(chip, lab.student, learn, lab.test, settings).steps():
        pass
    return before, loss_of(session, lab.test)


def loss_of(session: ChipSession, test: TargetSet) -> float:
    """Return the divergence from the golden student, nats a sample."""
    assert test.logits is not None
    return compare(test.logits, session.answers(test.samples.inputs)).loss


def difference(sequence: Tensor) -> float:
    """Root mean square of the change from frame to frame."""
    return float((sequence[:, 1:] - sequence[:, :-1]).square().mean().sqrt())


def test_a_sequence_holds_whole_events_at_every_step_and_changes(lab: Lab) -> None:
    made = synthetic_inputs(lab.student, 50, seed=1, are_sequences=True)
    assert made.shape == (50, STEPS, *lab.student.network.input_shape)
    assert torch.equal(made, made.round())
    assert 0 == made.min() < made.max() <= lab.student.input_full_scale
    recorded = difference(lab.learn.samples.inputs)
    assert 0.5 * recorded < difference(made) < 2 * recorded
    still = synthetic_inputs(lab.student, 50, seed=1)
    assert difference(still.unsqueeze(1).expand(-1, STEPS, -1, -1, -1)) == 0


@pytest.mark.parametrize("frame", [(1, 6, 6), (9,)])
def test_frames_of_any_form_change_from_step_to_step(frame: tuple[int, ...]) -> None:
    made = synthetic_sequences((20, 5, *frame), torch.Generator().manual_seed(0))
    assert made.shape == (20, 5, *frame)
    assert 0 <= made.min() < made.max() <= 1
    assert difference(made) > 0.02


@pytest.mark.parametrize("data", [Data.SYNTHETIC, Data.MIXED, Data.LAB])
def test_a_chip_that_reads_events_comes_back(lab: Lab, data: Data) -> None:
    learn = None if data is Data.SYNTHETIC else lab.learn
    before, after = losses(lab, learn, data)
    assert after < LEFT * before


def test_a_chip_that_is_tuned_and_learns_no_events_does_not(lab: Lab) -> None:
    """The control."""
    before, after = losses(lab, lab.learn, Data.LAB, TUNED)
    assert after > LEFT * before


def test_sequences_of_analog_frames_are_refused(lab: Lab) -> None:
    halves = lab.test.samples.inputs / 2
    with pytest.raises(SettingError, match="whole numbers"):
        lab.student.stimulus(halves)


def test_a_sequence_without_a_frame_for_every_step_is_refused(lab: Lab) -> None:
    with pytest.raises(LayerShapeError):
        lab.student.stimulus(lab.test.samples.inputs[:, 1:])
