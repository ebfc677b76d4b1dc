"""Choice of stimuli that together drive a student's channels as samples of the lab do.

Random pictures drive some channels hardly and others far too often. A greedy choice (herding, as
Welling, "Herding dynamical weights to learn", ICML 2009, draws samples that keep given moments)
takes one candidate after another: the one that brings the mean rates closest to those wanted.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.student.activity import Activity, ChannelActivity

_LEAST_SPREAD = 0.02  # of a channel's rate; less is hardly a spike in 16 steps


def matching_stimuli(
    rates: Mapping[str, Float[Tensor, "candidate _channel"]],
    wanted: Mapping[str, ChannelActivity],
    count: int,
) -> Int[Tensor, " count"]:
    """Return the indices of `count` different candidates whose mean rates are those wanted.

    `rates` are those of the candidates, by stage. Deviations count in units of the spread of a
    channel, and each stage counts the same. Raises ValueError if there are fewer candidates.
    """
    deviations = _deviations(rates, wanted)
    if count > len(deviations):
        raise ValueError(f"{count} stimuli cannot be chosen from {len(deviations)}.")
    squares = deviations.square().sum(1)
    total, chosen = torch.zeros_like(deviations[0]), torch.empty(count, dtype=torch.int64)
    for place in range(count):
        # |total + d|^2 is the least where this is; a candidate is taken once.
        best = (squares + 2 * (deviations @ total)).argmin()
        chosen[place] = best
        squares[best] = torch.inf
        total += deviations[best]
    return chosen


def certainty_shares(
    certainty: Float[Tensor, " candidate"], activity: Activity
) -> Float[Tensor, "candidate 10"]:
    """Return 1 for the tenth of the lab's samples that is as certain as a candidate, else 0."""
    return F.one_hot(torch.bucketize(certainty, activity.certainty), 10).float()


def wanted_shares() -> ChannelActivity:
    """Return what `certainty_shares` are for samples of the lab: a tenth each.

    Their spread is 0.3; with half of it they count twice as much as the channels of a stage.
    """
    return ChannelActivity(torch.full((10,), 0.1), torch.full((10,), 0.15))


def _deviations(
    rates: Mapping[str, Float[Tensor, "candidate _channel"]], wanted: Mapping[str, ChannelActivity]
) -> Float[Tensor, "candidate channel"]:
    """Return how far each candidate's rates are from the wanted means, all stages in a row."""
    parts = []
    for name, moments in wanted.items():
        spread = moments.spread.clamp(min=_LEAST_SPREAD) * len(moments.mean) ** 0.5
        parts.append((rates[name] - moments.mean) / spread)
    return torch.cat(parts, 1)
