"""The predicted loss of a chip, without labels, against closed forms and true accuracies."""

import math

import pytest
import torch

from ltl_core.calibration.judge import Judge, compare, is_better
from ltl_core.student.golden import golden_targets
from ltl_core.teaching.targets import Samples, TargetSet
from tests.blobs import World


def _logits(count: int, classes: int = 4, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(count, classes, generator=torch.Generator().manual_seed(1))


def test_a_chip_that_answers_as_golden_loses_nothing() -> None:
    found = compare(_logits(50), _logits(50))
    assert found.points == pytest.approx(0, abs=1e-6)
    assert found.loss == pytest.approx(0, abs=1e-6)
    assert found.agreement == 1.0


def test_predicted_points_are_the_accuracy_lost_where_golden_is_calibrated() -> None:
    golden, chip = _logits(20_000), _logits(20_000) + torch.randn(20_000, 4)
    labels = torch.multinomial(golden.softmax(1), 1)[:, 0]  # golden is right as often as it says
    right = [(logits.argmax(1) == labels).double() for logits in (golden, chip)]
    lost = 100 * (right[0] - right[1])  # of each sample: its label decides, so it scatters more
    error = float(lost.std()) / math.sqrt(len(lost))
    assert lost.mean() > 3
    found = compare(golden, chip)
    assert found.points == pytest.approx(float(lost.mean()), abs=3 * error)
    surer = compare(2 * golden, chip)  # control: this golden student claims more than it knows
    assert surer.points != pytest.approx(float(lost.mean()), abs=3 * error)
    turned = compare(golden, -golden)  # control: every answer is wrong
    assert turned.points > 5 * found.points


def test_of_values_a_loss_is_a_fraction_of_the_variance() -> None:
    golden = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))
    found = compare(golden, golden + 0.1, are_values=True)
    assert found.points == pytest.approx(1.0, rel=0.1)  # 0.1^2 of a variance of 1


def test_no_more_samples_are_measured_than_the_decision_needs(world: World) -> None:
    targets = golden_targets(world.student, Samples(world.test.samples.inputs, None))
    assert _measured(targets, 0.0, limit=10.0) == 128  # surely below
    assert _measured(targets, -1.0, limit=10.0) == 128  # surely above: every sign is turned
    assert _measured(targets, 0.0, limit=None) == targets.size


def _measured(targets: TargetSet, turned: float, limit: float | None) -> int:
    """How many samples a judge presents to a chip that answers as golden, or turned round."""
    seen = 0

    def answers(inputs: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        assert targets.logits is not None
        found = targets.logits[seen : seen + len(inputs)]
        seen += len(inputs)
        return found if turned == 0.0 else turned * found

    Judge(targets, answers, are_values=False).judge(limit)
    return seen


def test_better_is_judged_on_the_samples_that_both_have_seen() -> None:
    golden = _logits(200)
    noise = torch.randn(200, 4, generator=torch.Generator().manual_seed(3))
    before, after = compare(golden, golden + 2 * noise), compare(golden[:100], golden[:100])
    assert is_better(after, before)
    assert not is_better(before, after)


def test_a_judgement_of_an_unchanged_chip_is_not_measured_again(world: World) -> None:
    targets = golden_targets(world.student, Samples(world.test.samples.inputs[:9], None))
    presented: list[int] = []

    def answers(inputs: torch.Tensor) -> torch.Tensor:
        presented.append(len(inputs))
        return torch.zeros(len(inputs), 4)

    judge = Judge(targets, answers, are_values=False)
    found = judge.judge()
    judge.take_over(found)
    assert judge.judge(0.5) is found
    assert presented == [9]
    judge.judge(0.5)  # one question alone is answered with it
    assert presented == [9, 9]


def test_a_small_gain_is_none_where_more_standard_errors_are_asked_for() -> None:
    golden = _logits(200)
    noise = torch.randn(200, 4, generator=torch.Generator().manual_seed(3))
    before, after = compare(golden, golden + noise), compare(golden, golden + 0.97 * noise)
    assert is_better(after, before)
    assert not is_better(after, before, errors=50.0)
