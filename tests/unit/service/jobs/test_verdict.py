"""The sentence that says why a calibration published its weights or did not."""

import pytest

from service.jobs.kinds import train
from service.jobs.kinds.verdict import verdict

LOSSES = {"before": 43.254, "learned": 0.91}


def test_a_publication_names_its_version_and_its_reason() -> None:
    found = {
        "published": True,
        "weights_version": 3,
        "predicted_losses": LOSSES,
        "ended_by": "target met",
    }
    assert verdict(found) == (
        "Published as version 3: better than before, with a predicted loss of 0.91 points in place "
        "of 43.25. Learning ended because the target was met."
    )


def test_what_is_not_better_is_put_back() -> None:
    found = {"published": False, "predicted_losses": LOSSES, "stages": [{}]}
    found |= {"ended_by": "budget:samples"}
    said = verdict(found)
    assert said.startswith("Not published: what was learned is not clearly better (")
    assert said.endswith("because the budget of samples was used up.")


def test_a_chip_that_met_the_target_already_was_not_changed() -> None:
    found = {"published": False, "stages": [], "ended_by": "target met"}
    assert "met the target already" in verdict(found)
    assert "no stage" in verdict(found | {"ended_by": "stages done"})


def test_compensated_drift_gives_no_version() -> None:
    assert "compensated" in verdict({"published": False, "compensated": True, "stages": [{}]})


@pytest.mark.parametrize("earlier", [{}, {"accuracy": {}}])
def test_an_earlier_result_gets_no_sentence(earlier: dict[str, object]) -> None:
    assert verdict(earlier) == ""


def test_a_training_says_how_accurate_student_and_teacher_are() -> None:
    said = train.verdict({"accuracy": {"golden": 0.982, "teacher": 0.988}})
    assert said == (
        "The golden student has 98.2\u202f% of the test samples right, and its teacher 98.8\u202f%."
    )
    assert "teacher" not in train.verdict({"accuracy": {"golden": 0.982}})
    assert train.verdict({}) == ""
