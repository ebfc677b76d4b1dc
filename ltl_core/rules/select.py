"""A rule by its name."""

from ltl_core.rules.ltl_offline import LtlOffline
from ltl_core.rules.ltl_online import LtlOnline
from ltl_core.rules.rule import Rule
from ltl_core.settings import RuleName


def select_rule(name: RuleName) -> Rule:
    """The rule of that name."""
    return LtlOffline() if name is RuleName.LTL_OFFLINE else LtlOnline()
