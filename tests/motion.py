"""Events of moving digits, as a camera sees them, and sequences of them to learn from."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from ltl_core.data.events import Sensor, event_samples
from ltl_core.teaching.targets import Samples

SENSOR = Sensor(rows=8, columns=16)
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


@cache
def digits() -> Any:
    """1797 of 8 x 8 pixels."""
    return load_digits()


def moving_digit(number: int, positions: int = 9, step_us: int = 1000) -> NDArray[Any]:
    """What a camera sees of a digit that moves to the right: a change is an event."""
    picture = digits().images[number] > 7
    seen = np.zeros((positions, 8, 16), dtype=bool)
    for place in range(positions):
        seen[place, :, place : place + 8] = picture[:, : 16 - place]
    before, after = seen[:-1], seen[1:]
    events = []
    for polarity, changed in ((1, after & ~before), (0, before & ~after)):
        time, row, column = np.nonzero(changed)
        events += [
            (x, y, (t + 1) * step_us, polarity) for t, y, x in zip(time, row, column, strict=True)
        ]
    return np.array(sorted(events, key=lambda event: event[2]), dtype=EVENT)


def sequences(first: int, count: int) -> Samples:
    """Zeros and ones, moving."""
    numbers = [n for n in range(first, 1797) if digits().target[n] < 2][:count]
    recordings = ((moving_digit(n), int(digits().target[n])) for n in numbers)
    return event_samples(recordings, SENSOR, steps=8)


def averaged(samples: Samples) -> Samples:
    """The mean over the time of each sequence."""
    return Samples(samples.inputs.mean(1), samples.labels)
