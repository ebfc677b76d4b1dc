"""Events of moving digits become frames: every event once, in the time bin that it belongs to."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ltl_core.data.events import Sensor, event_frames
from ltl_core.errors import DataFormatError, SettingError
from tests.motion import EVENT, SENSOR, moving_digit


def _centre(frame: Tensor) -> float:
    """Return the mean column of all events."""
    columns = torch.arange(SENSOR.columns)
    return float((frame.sum((0, 1)) * columns).sum() / frame.sum())


def test_every_event_falls_on_its_pixel_once() -> None:
    events = moving_digit(3)
    frames = event_frames(events, SENSOR, steps=8)
    assert frames.shape == (8, 2, 8, 16)
    counted = torch.zeros(2, 8, 16)
    for event in events:
        counted[int(event["p"]), int(event["y"]), int(event["x"])] += 1
    assert torch.equal(frames.sum(0), counted)


def test_frames_follow_the_digit() -> None:
    frames = event_frames(moving_digit(0), SENSOR, steps=4)
    centres = [_centre(frame) for frame in frames]
    assert centres == sorted(centres)
    assert centres[-1] - centres[0] > 4  # columns, of the seven it has moved


def test_parts_are_of_equal_length_and_the_last_event_is_in_the_last() -> None:
    events = np.zeros(5, dtype=EVENT)
    events["t"] = [100, 149, 150, 199, 200]
    frames = event_frames(events, SENSOR, steps=2)
    assert frames.sum((1, 2, 3)).tolist() == [2, 3]


def test_events_of_one_instant_are_one_frame() -> None:
    events = np.zeros(3, dtype=EVENT)
    assert event_frames(events, SENSOR, steps=4).sum((1, 2, 3)).tolist() == [3, 0, 0, 0]


def test_what_cannot_be_frames_is_refused() -> None:
    events = moving_digit(1)
    with pytest.raises(SettingError, match="0 time steps"):
        event_frames(events, SENSOR, steps=0)
    with pytest.raises(DataFormatError, match="no events"):
        event_frames(events[:0], SENSOR, steps=4)
    with pytest.raises(DataFormatError, match="x reaches past 8"):
        event_frames(events, Sensor(8, 8), steps=4)
    with pytest.raises(DataFormatError, match="no field x, y"):
        event_frames(np.zeros(3, dtype=[("t", np.int64), ("p", np.int8)]), SENSOR, steps=4)


def _in_floats(events: np.ndarray) -> np.ndarray:
    """Return events with their times in seconds and all fields in floats."""
    floats = np.zeros(len(events), dtype=[(name, np.float64) for name in "xytp"])
    for name in "xyp":
        floats[name] = events[name]
    floats["t"] = events["t"] / 1e6
    return floats


def test_times_in_seconds_give_the_frames_of_times_in_microseconds() -> None:
    events = moving_digit(2)
    frames = event_frames(_in_floats(events), SENSOR, steps=5)
    assert torch.equal(frames, event_frames(events, SENSOR, steps=5))
    assert (frames.sum((1, 2, 3)) > 0).all()  # cut to whole seconds, all would be in one frame


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("t", np.nan, "1 events have no number in t"),
        ("x", np.inf, "1 events have no number in x"),
        ("y", 2.5, "y holds fractions"),
    ],
)
def test_events_without_a_place_are_refused(field: str, value: float, words: str) -> None:
    events = _in_floats(moving_digit(2))
    events[field][3] = value
    with pytest.raises(DataFormatError, match=words):
        event_frames(events, SENSOR, steps=5)
