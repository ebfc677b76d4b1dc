"""Students with additions are trained as chains are."""

from ltl_core.settings import TrainingSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect, run_teacher
from ltl_core.training.training import Training
from tests.integration.learning.seeds import SEEDS, at_most
from tests.unit.ltl_core.residual import RESIDUAL, random_inputs, random_weights

SETTINGS = TrainingSettings(epochs=6, batch=20)


def collected() -> tuple[dict, TargetSet]:
    """A teacher of chance, and what it asks for."""
    weights = {n: w.float() for n, w in random_weights(RESIDUAL).items() if not n.endswith("gain")}
    inputs = random_inputs(60).float()
    labels = run_teacher(RESIDUAL, weights, inputs).logits.argmax(1)
    return weights, collect(RESIDUAL, weights, Samples(inputs, labels))


def test_residual_student_is_trained_in_codes_and_survives_its_block() -> None:
    weights, targets = collected()

    def trained(seed: int, rate: float = SETTINGS.learning_rate) -> Student:
        settings = SETTINGS.model_copy(update={"seed": seed, "learning_rate": rate})
        training = Training(RESIDUAL, weights, targets, settings)
        list(training.epochs())
        return training.student

    before = student_quality(Training(RESIDUAL, weights, targets, SETTINGS).student, targets)
    students = [trained(seed) for seed in SEEDS]
    after = [student_quality(student, targets) for student in students]
    turned = student_quality(trained(0, -SETTINGS.learning_rate), targets)
    for layer, error in enumerate(before.rate_error):
        assert at_most([quality.rate_error[layer] for quality in after]) < error
    assert sum(turned.rate_error) > sum(before.rate_error)
    again = Student.from_block(students[0].to_block())
    assert student_quality(again, targets) == after[0]
    assert again.gains["same"][0] > 0
