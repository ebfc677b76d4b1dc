"""The method that settings ask for."""

from ltl_core.calibration.methods.gradient import GradientMethod
from ltl_core.calibration.methods.ltl import LocalGradients
from ltl_core.calibration.methods.method import Method, MethodSetup


def make_method(setup: MethodSetup) -> Method:
    """Return the method of the settings, at the codes of the setup's student."""
    return GradientMethod(setup, LocalGradients(setup))
