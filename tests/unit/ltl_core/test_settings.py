"""Settings refuse what cannot be."""

import pytest
from pydantic import ValidationError

from ltl_core.settings import (
    CalibrationSettings,
    RuleName,
)


def test_calibration_refuses_rules_that_are_not_local() -> None:
    with pytest.raises(ValidationError, match="ltl-online or ltl-offline"):
        CalibrationSettings(rule=RuleName.BPTT)
