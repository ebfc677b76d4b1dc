"""Students of sequences learn what their teacher sees on average."""

import pytest

from ltl_core.interop.from_torch import Imported
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import unpack
from ltl_core.settings import NeuronSettings, TrainingSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.student.student import Student
from ltl_core.teaching.teacher import collect, teacher_accuracy
from ltl_core.training.training import Training
from tests.data.make_motion import TEACHER
from tests.integration.learning.seeds import SEEDS, at_most
from tests.motion import averaged, sequences

SETTINGS = TrainingSettings(
    epochs=3, batch=16, learning_rate=5e-3, neuron=NeuronSettings(steps=8, warmup=5)
)


@pytest.fixture(scope="module")
def teacher() -> Imported:
    weights, about = unpack(TEACHER.read_bytes())
    return Imported(NetworkSpec.model_validate_json(about["network"]), weights)


def test_student_of_sequences_learns_what_its_teacher_sees_on_average(teacher: Imported) -> None:
    train, test = sequences(0, 120), sequences(1000, 60)
    targets = collect(*teacher, averaged(train), percentile=99.9)._replace(samples=train)
    held = collect(*teacher, averaged(test), scales=targets.scales)._replace(samples=test)

    def trained(seed: int, rate: float = SETTINGS.learning_rate) -> Student:
        settings = SETTINGS.model_copy(update={"seed": seed, "learning_rate": rate})
        training = Training(*teacher, targets, settings)
        assert len(list(training.epochs())) == 3
        return training.student

    before = student_quality(Training(*teacher, targets, SETTINGS).student, held)
    students = [trained(seed) for seed in SEEDS]
    after = [student_quality(student, held) for student in students]
    right = teacher_accuracy(*teacher, averaged(test))
    assert at_most([right - quality.accuracy for quality in after]) <= 0.02
    assert at_most([quality.rate_error[0] for quality in after]) < before.rate_error[0]
    turned = student_quality(trained(0, -SETTINGS.learning_rate), held)
    assert turned.rate_error[0] > before.rate_error[0]
    # One moment of the motion is not the motion: the first layer must see every step.
    moment = test.inputs[:, :1].expand(-1, 8, -1, -1, -1)
    still = held._replace(samples=test._replace(inputs=moment))
    assert student_quality(students[0], still).rate_error[0] > 2 * after[0].rate_error[0]
