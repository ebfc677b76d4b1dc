"""Frames from the events of a camera: one input for each time step of the student.

An event is (x, y, t, p): column, row, time, polarity, as a NumPy structured array, which is what
`tonic` (the extra `events`) gives for N-MNIST and CIFAR10-DVS, and `aedat` for a camera's files.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ltl_core.errors import DataFormatError, SettingError
from ltl_core.teaching.targets import Samples

_FIELDS = ("x", "y", "t", "p")


class Sensor(NamedTuple):
    """The size of an event camera, in pixels; each polarity is a channel."""

    rows: int
    columns: int
    polarities: int = 2


def event_frames(
    events: NDArray[Any], sensor: Sensor, steps: int, source: str = "events"
) -> Float[Tensor, "time polarity row column"]:
    """Count the events on each pixel in each of `steps` equal time bins of the recording.

    step = floor((t - t_first) steps / (t_last - t_first)); the last event counts in the last step,
    while `tonic.transforms.ToFrame(n_time_bins=...)` leaves it out. Times are integers or, such as
    seconds, floats; coordinates are whole numbers. Raises SettingError if `steps`
    is below 1, and DataFormatError if the events cannot be used.
    """
    if steps < 1:
        raise SettingError(f"{steps} time steps are too few: at least one is needed.")
    _check(events, sensor, source)
    place = (_steps(events["t"], steps), *(events[field].astype(np.int64) for field in "pyx"))
    shape = (steps, sensor.polarities, sensor.rows, sensor.columns)
    counts = np.bincount(np.ravel_multi_index(place, shape), minlength=int(np.prod(shape)))
    return torch.from_numpy(counts).float().view(shape)


def event_samples(
    recordings: Iterable[tuple[NDArray[Any], int]], sensor: Sensor, steps: int
) -> Samples:
    """Return samples, a sequence of frames each, from labelled recordings as `tonic` yields them.

    Raises DataFormatError or SettingError, as `event_frames` does.
    """
    frames, labels = list[Tensor](), list[int]()
    for number, (events, label) in enumerate(recordings):
        frames.append(event_frames(events, sensor, steps, f"recording {number}"))
        labels.append(int(label))
    if not frames:
        raise DataFormatError("events", "there are no recordings")
    return Samples(torch.stack(frames), torch.tensor(labels))


def _steps(time: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return the step of each event."""
    if np.issubdtype(time.dtype, np.floating):
        seconds = time.astype(np.float64) - float(time.min())
        whole = float(seconds.max()) or 1.0
        return np.minimum(np.floor(seconds * steps / whole).astype(np.int64), steps - 1)
    elapsed = time.astype(np.int64) - int(time.min())
    return np.minimum(elapsed * steps // max(1, int(elapsed.max())), steps - 1)


def _check(events: NDArray[Any], sensor: Sensor, source: str) -> None:
    names = events.dtype.names or ()
    if missing := [field for field in _FIELDS if field not in names]:
        raise DataFormatError(source, f"its events have no field {', '.join(missing)}")
    if len(events) == 0:
        raise DataFormatError(source, "it holds no events")
    for field in _FIELDS:
        _check_numbers(events[field], field, source)
    limits = {"x": sensor.columns, "y": sensor.rows, "p": sensor.polarities}
    for field, limit in limits.items():
        if int(events[field].min()) < 0 or int(events[field].max()) >= limit:
            raise DataFormatError(source, f"events leave the sensor: {field} reaches past {limit}")


def _check_numbers(values: NDArray[Any], field: str, source: str) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        return
    if bad := int((~np.isfinite(values)).sum()):
        raise DataFormatError(source, f"{bad} events have no number in {field}; leave them out")
    if field != "t" and bool((values != np.floor(values)).any()):
        raise DataFormatError(source, f"{field} holds fractions, but is a whole number of pixels")
