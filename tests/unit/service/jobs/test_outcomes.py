"""What tables and pages say of a job's result, kind by kind."""

from typing import Any

import pytest

from ltl_core.calibration.prediction import Prediction
from service.db.tables import Job
from service.jobs.health import health_by_accuracy, health_by_prediction, worse
from service.jobs.kinds import calibrate, probe, tune
from service.jobs.kinds.calibration_attempt import recovered
from service.states import ChipHealth

ACCURACY = {"before": 0.5, "after": 0.9, "golden": 0.95, "untuned": 0.5, "now": 0.9}
CHANGE = "50.0\u202f% before, 90.0\u202f% after"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, ""),
        ({"accuracy": ACCURACY}, f"{CHANGE}; not better, old codes put back"),
        ({"accuracy": ACCURACY, "published": True}, f"{CHANGE}; published"),
        (
            {"accuracy": ACCURACY, "published": True, "weights_version": 3},
            f"{CHANGE}; published as version 3",
        ),
    ],
)
def test_a_calibration_says_whether_its_codes_are_in_force(
    result: dict[str, Any], words: str
) -> None:
    assert calibrate.outcome(result) == words


def test_a_tuning_names_the_circuits_that_are_not_alike() -> None:
    assert tune.outcome({"accuracy": ACCURACY}) == f"{CHANGE}; all circuits alike"
    failed = {"accuracy": ACCURACY, "failures": ["hidden: converters", "readout: leaks"]}
    assert tune.outcome(failed) == f"{CHANGE}; hidden: converters; readout: leaks"


def test_a_tuning_says_how_alike_the_circuits_of_each_layer_are() -> None:
    before = {"adc_lsb": 9.0, "threshold": 0.1, "leak": None}
    after = {"adc_lsb": 1.5, "threshold": 0.02, "leak": None}
    layer = {"before": before, "after": after, "not_tuned": {"adc": 2, "leak": 0}}
    words = "converters 9.0 to 1.5 LSB, thresholds 10.0% to 2.0%, 2 not tuned"
    assert tune.facts(Job(result={"layers": {"hidden": layer}})) == [("Spread in hidden", words)]


def test_a_job_without_a_result_yet_has_no_facts() -> None:
    assert tune.facts(Job(result=None)) == probe.facts(Job(result=None)) == []
    assert calibrate.facts(Job(weights_in_force=None)) == []
    assert calibrate.facts(Job(weights_in_force=2)) == [("In force before", "version 2")]


def test_nothing_is_recovered_where_nothing_was_lost() -> None:
    assert recovered({"golden": 0.9, "before": 0.9, "after": 0.8}) is None
    assert recovered({"golden": 0.9, "before": 0.5, "after": 0.7}) == pytest.approx(0.5)


def test_health_follows_what_was_measured_last_and_the_worse_of_two_findings() -> None:
    found = [health_by_accuracy(accuracy, 0.9) for accuracy in (0.89, 0.85, 0.7)]
    losses = [Prediction(1.9, 0.5, 4.9), Prediction(1.9, 0.5, 5.0), Prediction(10.0, 9.0, 11.0)]
    predicted = [health_by_prediction(loss) for loss in losses]
    assert found == predicted == [ChipHealth.GOOD, ChipHealth.DRIFTING, ChipHealth.BAD]
    assert worse(ChipHealth.GOOD, ChipHealth.BAD) is ChipHealth.BAD
    assert worse(ChipHealth.UNKNOWN, ChipHealth.DRIFTING) is ChipHealth.DRIFTING
    assert worse(ChipHealth.UNKNOWN, ChipHealth.UNKNOWN) is ChipHealth.UNKNOWN


def test_a_job_whose_chip_is_too_young_says_so() -> None:
    young = {"too_young_s": 60.0, "last_trims_job_id": "j"}
    assert calibrate.outcome(young) == "the chip is not old enough yet; it comes again"
    job = Job(request={"follows": "first"}, result=young)
    assert calibrate.facts(job) == [("Last trims of", "job first"), ("Last trims", "job j")]
