"""How samples of the lab drive a student: a few moments and quantiles, no sample.

A student carries them so that stimuli which were made without the lab's data can be chosen to drive
it alike.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.teaching.targets import TargetSet, from_levels

_PREFIX = "activity:"  # of the channels' tensors in a block
_CERTAINTY = "certainty"  # the deciles' tensor


class ChannelActivity(NamedTuple):
    """Mean and standard deviation, over samples, of the rate of each channel of a hidden stage."""

    mean: Float[Tensor, " channel"]
    spread: Float[Tensor, " channel"]


class Activity(NamedTuple):
    """What a student does on samples of the lab."""

    channels: Mapping[str, ChannelActivity]  # by hidden stage
    certainty: Float[Tensor, " 9"]  # deciles of the softmax of the chosen class


def activity_of(answers: TargetSet) -> Activity:
    """Return the activity of a student from its answers to samples, rates and logits."""
    channels = {
        name: ChannelActivity(rates.mean(0), rates.std(0, correction=0))
        for name, rates in channel_rates(answers).items()
    }
    deciles = torch.linspace(0, 1, 11)[1:-1]
    return Activity(channels, certainty(answers).quantile(deciles))


def channel_rates(answers: TargetSet) -> dict[str, Float[Tensor, "sample channel"]]:
    """Return the mean rate of each channel, over all places of a picture, by hidden stage."""
    return {name: _by_channel(from_levels(rates)) for name, rates in answers.rates.items()}


def certainty(answers: TargetSet) -> Float[Tensor, " sample"]:
    """Return the softmax of the chosen class. Raises ValueError if there are no logits."""
    if answers.logits is None:
        raise ValueError("The certainty of a student follows from its logits.")
    return answers.logits.softmax(1).amax(1)


def _by_channel(rates: Float[Tensor, "sample channel *place"]) -> Float[Tensor, "sample channel"]:
    return rates.flatten(2).mean(2) if rates.ndim > 2 else rates


def activity_tensors(activity: Activity | None) -> dict[str, Tensor]:
    """Return the activity as named tensors: `certainty`, `activity:STAGE.mean` and `.spread`."""
    if activity is None:
        return {}
    channels = {
        f"{_PREFIX}{name}.{field}": tensor
        for name, found in activity.channels.items()
        for field, tensor in found._asdict().items()
    }
    return channels | {_CERTAINTY: activity.certainty}


def read_activity(tensors: Mapping[str, Tensor]) -> Activity | None:
    """Read what `activity_tensors` returned; other tensors are ignored.

    Raises KeyError if a tensor is missing.
    """
    if _CERTAINTY not in tensors:
        return None
    end = f".{ChannelActivity._fields[0]}"
    keys = [key for key in tensors if key.startswith(_PREFIX) and key.endswith(end)]
    channels = {
        key[len(_PREFIX) : -len(end)]: ChannelActivity(
            *(tensors[key[: -len(end)] + f".{field}"] for field in ChannelActivity._fields)
        )
        for key in keys
    }
    return Activity(channels, tensors[_CERTAINTY])
