"""The rule that a name or settings ask for."""

from ltl_core.errors import SettingError
from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.bptt import Bptt
from ltl_core.rules.dspike import DspikeBptt
from ltl_core.rules.end_to_end import EndToEndRule
from ltl_core.rules.ltl_offline import LtlOffline
from ltl_core.rules.ltl_online import LtlOnline
from ltl_core.rules.rule import Rule
from ltl_core.rules.shortcut import Shortcut
from ltl_core.rules.tandem import Tandem
from ltl_core.settings import RuleName, TrainingSettings


def select_rule(name: RuleName) -> Rule:
    """Return the local rule of this name. Raises SettingError for any other rule."""
    match name:
        case RuleName.LTL_OFFLINE:
            return LtlOffline()
        case RuleName.LTL_ONLINE:
            return LtlOnline()
    raise SettingError(f"{name} is not a local rule: choose ltl-online or ltl-offline.")


def select_end_to_end(settings: TrainingSettings, network: NetworkSpec) -> EndToEndRule:
    """Return the end-to-end rule of the settings. Raises SettingError for a local rule."""
    match settings.rule:
        case RuleName.TANDEM:
            return Tandem()
        case RuleName.BPTT:
            return Bptt()
        case RuleName.DSPIKE:
            return DspikeBptt()
        case RuleName.SHORTCUT:
            return Shortcut(network, weight=settings.shortcut_weight, seed=settings.seed)
    raise SettingError(f"{settings.rule} is a local rule, not an end-to-end rule.")
