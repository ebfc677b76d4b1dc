"""How samples of the lab drive the channels of a student: two moments of each, no sample.

A student carries them so that stimuli which were made without the lab's data can be chosen to drive
it alike.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ltl_core.teaching.targets import TargetSet, from_levels

_PREFIX = "activity:"


class ChannelActivity(NamedTuple):
    """Mean and standard deviation, over samples, of the rate of each channel of a hidden stage."""

    mean: Float[Tensor, " channel"]
    spread: Float[Tensor, " channel"]


Activity = Mapping[str, ChannelActivity]  # by hidden stage


def activity_of(answers: TargetSet) -> dict[str, ChannelActivity]:
    """Return the activity of a student from its answers to samples."""
    return {
        name: ChannelActivity(rates.mean(0), rates.std(0, correction=0))
        for name, rates in channel_rates(answers).items()
    }


def channel_rates(answers: TargetSet) -> dict[str, Float[Tensor, "sample channel"]]:
    """Return the mean rate of each channel, over all places of a picture, by hidden stage."""
    return {name: _by_channel(from_levels(rates)) for name, rates in answers.rates.items()}


def _by_channel(rates: Float[Tensor, "sample channel *place"]) -> Float[Tensor, "sample channel"]:
    return rates.flatten(2).mean(2) if rates.ndim > 2 else rates


def activity_tensors(activity: Activity) -> dict[str, Tensor]:
    """Return the activity as named tensors: `activity:STAGE.mean` and `.spread`."""
    return {
        f"{_PREFIX}{name}.{field}": tensor
        for name, found in activity.items()
        for field, tensor in found._asdict().items()
    }


def read_activity(tensors: Mapping[str, Tensor]) -> dict[str, ChannelActivity]:
    """Read what `activity_tensors` returned; other tensors are ignored, and there may be none.

    Raises KeyError if a tensor is missing.
    """
    end = ".mean"
    keys = [key for key in tensors if key.startswith(_PREFIX) and key.endswith(end)]
    names = [key[len(_PREFIX) : -len(end)] for key in keys]
    return {
        name: ChannelActivity(
            *(tensors[f"{_PREFIX}{name}.{field}"] for field in ChannelActivity._fields)
        )
        for name in names
    }
