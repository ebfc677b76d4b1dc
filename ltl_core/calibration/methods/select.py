"""The method that settings ask for, and what its readout learns."""

from ltl_core.calibration.methods.adabs import AdaBs
from ltl_core.calibration.methods.gradient import GradientMethod
from ltl_core.calibration.methods.ltl import LocalGradients
from ltl_core.calibration.methods.method import Method, MethodSetup
from ltl_core.calibration.methods.metropolis_hastings import MetropolisHastings
from ltl_core.calibration.methods.spsa import Spsa
from ltl_core.calibration.methods.surrogate import SurrogateGradients
from ltl_core.calibration.methods.tandem import TandemGradients
from ltl_core.settings import MethodName, Readout, TargetSource


def make_method(setup: MethodSetup) -> Method:
    """Return the method of the settings, at the codes of the setup's student."""
    match setup.settings.method:
        case MethodName.LTL:
            return GradientMethod(setup, LocalGradients(setup))
        case MethodName.TANDEM:
            return GradientMethod(setup, TandemGradients(setup))
        case MethodName.SURROGATE:
            return GradientMethod(setup, SurrogateGradients(setup))
        case MethodName.METROPOLIS_HASTINGS:
            return MetropolisHastings(setup)
        case MethodName.SPSA:
            return Spsa(setup)
        case MethodName.ADABS:
            return AdaBs(setup)


def choose_readout(targets: TargetSource, *, are_values: bool) -> Readout:
    """Return what the readout learns: labels, values, or the softmax of a golden student."""
    if targets is TargetSource.LABELS:
        return Readout.LABELS
    return Readout.TEACHER_VALUES if are_values else Readout.TEACHER
