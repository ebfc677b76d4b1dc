"""Stimuli made from the student alone, for a calibration without the lab's data.

Half of the pictures are smooth random fields of several scales on a masked background, half are a
few shapes one before the other; every second one is symmetric. They have some grain, over the range
of the inputs. Of several times as many, those are chosen that together drive the student's channels
as samples do, if the student knows how samples do. The golden student's answers to them are the
targets. Inputs without neighbourhood (vectors) are mixtures of a few random patterns.

A network of sequences is shown pictures that move; one of two polarities, the events that a camera
sees of them.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.calibration.stimuli.fields import mixtures, pictures
from ltl_core.calibration.stimuli.matching import (
    certainty_shares,
    matching_stimuli,
    wanted_shares,
)
from ltl_core.calibration.stimuli.motion import synthetic_sequences
from ltl_core.calibration.stimuli.shapes import shapes
from ltl_core.spiking.inputs import unscaled_inputs
from ltl_core.student.activity import Activity, certainty, channel_rates
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples

_CANDIDATES = 8  # for each stimulus that is chosen
_SHARES = "shares of the certainty"  # beside the names of stages
_AT_ONCE = 128  # that are in memory together; large pictures are made anew once they are chosen


def synthetic_inputs(
    student: Student,
    count: int,
    seed: int,
    *,
    are_sequences: bool = False,
    as_certain: bool = False,
) -> Float[Tensor, "sample *input"]:
    """Return `count` stimuli in the units of the lab's samples; one seed, one set.

    If they are sequences, each has a frame for every time step of the student, and a frame holds
    whole numbers of events. `as_certain` asks for stimuli on which the student is as certain of
    its class as on samples of the lab, as far as there are such. It hesitates on most stimuli: a
    chip learns more from these, but the loss of accuracy that they show is too large.
    """
    make = partial(_sequences if are_sequences else _still, student)
    candidates = count if student.activity is None else count * _CANDIDATES
    blocks = [partial(_block, make, seed, n) for n in range(-(-candidates // _AT_ONCE))]
    if student.activity is None:
        return torch.cat([block() for block in blocks])[:count]
    found = [_rates(student, block(), student.activity) for block in blocks]
    shares = {_SHARES: wanted_shares()} if as_certain else {}
    wanted = {**student.activity.channels, **shares}
    rates = {name: torch.cat([rates[name] for rates in found]) for name in wanted}
    return _taken(blocks, matching_stimuli(rates, wanted, count))


def _rates(student: Student, inputs: Tensor, activity: Activity) -> dict[str, Tensor]:
    """Return what candidates are chosen by: rates of channels, and tenths of the certainty."""
    answers = golden_targets(student, Samples(inputs, None))
    shares = certainty_shares(certainty(answers), activity)
    return channel_rates(answers) | {_SHARES: shares}


def _taken(
    blocks: Sequence[Callable[[], Tensor]], chosen: Int[Tensor, " count"]
) -> Float[Tensor, "count *input"]:
    """Return the chosen of all stimuli, block by block."""
    number, place = chosen // _AT_ONCE, chosen % _AT_ONCE
    return torch.cat([blocks[n]()[place[number == n]] for n in number.unique().tolist()])


def _block(make: Callable[[int, torch.Generator], Tensor], seed: int, number: int) -> Tensor:
    """Return one block of stimuli; it is the same whenever it is made."""
    return make(_AT_ONCE, torch.Generator().manual_seed(seed * 100_003 + number))


def _still(
    student: Student, count: int, generator: torch.Generator
) -> Float[Tensor, "sample *input"]:
    shape = student.network.input_shape
    if len(shape) == 3:
        values = _pictures(count, shape[0], (shape[1], shape[2]), generator)
    else:
        values = mixtures((count, *shape), generator)
    return unscaled_inputs(student.network, values * student.input_full_scale)


def _pictures(
    count: int, channels: int, side: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "sample channel row column"]:
    """Return fields and shapes in equal parts; what is on the left is mirrored in half of each."""
    half = count // 2
    values = torch.cat(
        [
            pictures(count - half, channels, side, generator),
            shapes(half, channels, side, generator),
        ]
    )
    half_width = side[1] // 2
    values[::2, ..., side[1] - half_width :] = values[::2, ..., :half_width].flip(-1)
    return values


def _sequences(
    student: Student, count: int, generator: torch.Generator
) -> Float[Tensor, "sample time *input"]:
    shape = (count, student.neuron.steps, *student.network.input_shape)
    return (synthetic_sequences(shape, generator) * student.input_full_scale).round()
