"""Settings refuse what cannot be."""

import pytest
from pydantic import ValidationError

from ltl_core.chip import Observable
from ltl_core.settings import (
    CalibrationSettings,
    MethodName,
    RuleName,
    StageName,
    TargetSource,
)

TRIMS_ALONE = (MethodName.METROPOLIS_HASTINGS, MethodName.SPSA, MethodName.ADABS)


def test_calibration_refuses_rules_that_are_not_local() -> None:
    with pytest.raises(ValidationError, match="ltl-online or ltl-offline"):
        CalibrationSettings(rule=RuleName.BPTT)


def test_fields_of_earlier_versions_are_read_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="CalibrationSettings.stages"):
        trims = CalibrationSettings.model_validate({"change": "trims"})
    assert trims.stages == (StageName.TRIMS,)
    with pytest.warns(DeprecationWarning, match="weight_step"):
        rates = CalibrationSettings.model_validate({"learning_rate": 0.5})
    assert rates == CalibrationSettings()
    with pytest.raises(ValidationError):
        CalibrationSettings.model_validate({"unknown": 1})


def test_requests_of_earlier_versions_are_calibrated_with_ltl() -> None:
    assert CalibrationSettings.model_validate({"rule": "ltl-offline"}).method is MethodName.LTL


def test_a_method_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(ValidationError, match="choose an observable of spikes, window, membrane"):
        CalibrationSettings(method=MethodName.SURROGATE)
    CalibrationSettings(method=MethodName.SURROGATE, observable=Observable.SPIKES)
    with pytest.raises(ValidationError, match="choose an observable of membrane"):
        CalibrationSettings(method=MethodName.ADABS, observable=Observable.SPIKES)
    membrane = {"method": MethodName.ADABS, "observable": Observable.MEMBRANE}
    assert CalibrationSettings.model_validate(membrane).targets is TargetSource.GOLDEN
    with pytest.raises(ValidationError, match="targets 'golden'"):
        CalibrationSettings.model_validate(membrane | {"targets": "teacher"})


@pytest.mark.parametrize("method", list(MethodName))
def test_a_method_of_trims_refuses_to_write_cells_alone(method: MethodName) -> None:
    asked = {
        "method": method,
        "observable": method.observables[0],
        "stages": (StageName.CELLS,),
    }
    if method in TRIMS_ALONE:
        with pytest.raises(ValidationError, match="ask for stage 'trims'"):
            CalibrationSettings.model_validate(asked)
    else:
        assert CalibrationSettings.model_validate(asked).method.moves_cells


def test_drift_alone_is_verified_with_few_samples_unless_more_are_asked_for() -> None:
    alone = CalibrationSettings.model_validate({"stages": ["drift"]})
    assert (alone.test_samples, alone.verification_samples) == (128, 128)
    asked = CalibrationSettings(stages=(StageName.DRIFT,), test_samples=500)
    assert (asked.test_samples, asked.verification_samples) == (500, 128)
    more = CalibrationSettings(stages=(StageName.DRIFT, StageName.TRIMS))
    assert (more.test_samples, more.verification_samples) == (1000, 256)
    with pytest.raises(ValidationError):
        CalibrationSettings.model_validate({"stages": 3})
