"""Published hyperparameters, by name. Readable without torch."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from ltl_core.settings import NeuronSettings, Reset, RuleName, Scales, TrainingSettings

_OFFLINE_STEPS = (10, 20, 30, 40, 50, 80, 90)
_ONLINE_STEPS = tuple(range(10, 50, 5))


class PresetName(StrEnum):
    """The names of published settings."""

    LTL_OFFLINE_VGG11 = "ltl-offline-vgg11"
    LTL_OFFLINE_VGG16 = "ltl-offline-vgg16"
    LTL_ONLINE_VGG11 = "ltl-online-vgg11"
    LTL_ONLINE_VGG16 = "ltl-online-vgg16"
    TANDEM_IF = "tandem-if"


class Preset(NamedTuple):
    """How a student was trained in a paper."""

    settings: TrainingSettings
    percentile: float  # of the activations, for the scales of the targets
    source: str  # the paper


def _ltl(rule: RuleName, batch: int) -> Preset:
    """Return the settings of LTL: Adam at 1e-4, scales computed anew in every batch.

    Yang et al., NeurIPS 2022, arXiv 2210.04532.
    """
    offline = rule is RuleName.LTL_OFFLINE
    percentile = 99.9 if offline else 99.0
    settings = TrainingSettings(
        rule=rule,
        epochs=100 if offline else 50,
        batch=batch,
        learning_rate=1e-4,
        milestones=_OFFLINE_STEPS if offline else _ONLINE_STEPS,
        gamma=0.5 if offline else 0.2,
        scales=Scales.BATCH,
        percentile=percentile,
        delta_bits=None,
    )
    return Preset(settings, 100.0, "Yang et al., NeurIPS 2022, arXiv 2210.04532")


def _tandem() -> Preset:
    """Return the settings of Tandem Learning: integrate and fire, a threshold of 1 subtracted.

    Wu et al., arXiv 1907.01167.
    """
    neuron = NeuronSettings(threshold=1.0, decay=1.0, reset=Reset.SUBTRACT)
    settings = TrainingSettings(rule=RuleName.TANDEM, neuron=neuron)
    return Preset(settings, 99.9, "Wu et al., arXiv 1907.01167: the neuron alone")


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        PresetName.LTL_OFFLINE_VGG11: _ltl(RuleName.LTL_OFFLINE, 64),
        PresetName.LTL_OFFLINE_VGG16: _ltl(RuleName.LTL_OFFLINE, 32),
        PresetName.LTL_ONLINE_VGG11: _ltl(RuleName.LTL_ONLINE, 64),
        PresetName.LTL_ONLINE_VGG16: _ltl(RuleName.LTL_ONLINE, 32),
        PresetName.TANDEM_IF: _tandem(),
    }
)
