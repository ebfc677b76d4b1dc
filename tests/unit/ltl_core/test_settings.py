"""Settings refuse what cannot be."""

import pytest
from pydantic import ValidationError

from ltl_core.settings import (
    CalibrationSettings,
    RuleName,
    StageName,
)


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
