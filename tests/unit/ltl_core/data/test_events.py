"""Events of moving digits become frames: every event once, in the time bin that it belongs to."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ltl_core.data.events import Sensor, event_frames, event_samples
from ltl_core.errors import DataFormatError, SettingError
from ltl_core.interop.from_torch import from_torch
from ltl_core.settings import NeuronSettings, TrainingSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.teaching.targets import Samples
from ltl_core.teaching.teacher import collect, teacher_accuracy
from ltl_core.training.training import Training

SENSOR = Sensor(rows=8, columns=16)
_EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


@cache
def digits() -> Any:
    """Return the 1797 digits of scikit-learn, 8 x 8 pixels each."""
    return load_digits()


def moving_digit(number: int, positions: int = 9, step_us: int = 1000) -> NDArray[Any]:
    """Return the events of a digit that moves to the right: a changed pixel is an event."""
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
    return np.array(sorted(events, key=lambda event: event[2]), dtype=_EVENT)


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


def test_time_bins_are_of_equal_length_and_the_last_event_is_in_the_last() -> None:
    events = np.zeros(5, dtype=_EVENT)
    events["t"] = [100, 149, 150, 199, 200]
    frames = event_frames(events, SENSOR, steps=2)
    assert frames.sum((1, 2, 3)).tolist() == [2, 3]


def test_events_of_one_instant_are_one_frame() -> None:
    events = np.zeros(3, dtype=_EVENT)
    assert event_frames(events, SENSOR, steps=4).sum((1, 2, 3)).tolist() == [3, 0, 0, 0]


def _sequences(first: int, count: int) -> Samples:
    """Zeros and ones, moving."""
    numbers = [n for n in range(first, 1797) if digits().target[n] < 2][:count]
    recordings = ((moving_digit(n), int(digits().target[n])) for n in numbers)
    return event_samples(recordings, SENSOR, steps=8)


def _averaged(samples: Samples) -> Samples:
    return Samples(samples.inputs.mean(1), samples.labels)


def test_student_of_sequences_learns_what_its_teacher_sees_on_average() -> None:
    train, test = _sequences(0, 120), _sequences(1000, 60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = from_torch(_teacher(_averaged(train)), (2, 8, 16))
    targets = collect(*teacher, _averaged(train), percentile=99.9)._replace(samples=train)
    held = collect(*teacher, _averaged(test), scales=targets.scales)._replace(samples=test)
    neuron = NeuronSettings(steps=8, warmup=5)
    settings = TrainingSettings(epochs=3, batch=16, learning_rate=5e-3, neuron=neuron)
    training = Training(*teacher, targets, settings)
    before = student_quality(training.student, held)
    assert len(list(training.epochs())) == 3
    after = student_quality(training.student, held)
    assert after.accuracy >= teacher_accuracy(*teacher, _averaged(test)) - 0.02
    assert after.rate_error < before.rate_error
    # One moment of the motion is not the motion: the first layer must see every step.
    still = held._replace(
        samples=Samples(test.inputs[:, :1].expand(-1, 8, -1, -1, -1), test.labels)
    )
    assert student_quality(training.student, still).rate_error[0] > 2 * after.rate_error[0]


def _teacher(samples: Samples) -> nn.Module:
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Hardtanh(0, 2),
        nn.Flatten(),
        nn.Linear(256, 2),
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(samples.inputs), samples.labels).backward()
        optimizer.step()
    return module.eval()


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
