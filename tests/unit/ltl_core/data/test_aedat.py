"""Files of event cameras: each event is read at its place, time and polarity, and nothing else is.

`moving_digit.aedat4` holds the events of `moving_digit(3)`. iniVation's own library wrote it
(dv-processing 2.0.4): `MonoCameraWriter` with `EventOnlyConfig("camera", (16, 8), LZ4)`.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ltl_core.data.aedat import DVS128, Camera, davis, read_aedat2, read_aedat4
from ltl_core.data.events import Sensor, event_frames
from ltl_core.errors import DataFormatError, SettingError
from tests.motion import EVENT, SENSOR, moving_digit

AEDAT4 = Path(__file__).parent / "moving_digit.aedat4"
HEADER = (
    b"#!AER-DAT2.0\r\n# Data format is int32 address, int32 timestamp\r\n# AEChip: a camera\r\n"
)
DAVIS346 = davis(260, 346)


def _dvs128_address(event: np.void) -> int:
    """Return the address that jAER writes for a DVS128: its polarity is 0 where it got brighter."""
    x, y, _, p = event.tolist()
    return int((1 - p) | (127 - x) << 1 | (127 - y) << 8)


def _davis346_address(event: np.void) -> int:
    x, y, _, p = event.tolist()
    return int(p << 11 | (345 - x) << 12 | (259 - y) << 22)


def _aedat2(path: Path, records: Sequence[tuple[int, int]], order: str = ">") -> Path:
    """Write addresses and times as AEDAT 2.0."""
    written = np.array(records, dtype=[("address", f"{order}u4"), ("time", f"{order}u4")])
    path.write_bytes(HEADER + written.tobytes())
    return path


def _same(found: NDArray, events: NDArray) -> bool:
    return all(np.array_equal(found[field], events[field]) for field in "xytp")


@pytest.mark.parametrize(
    ("camera", "address"), [(DVS128, _dvs128_address), (DAVIS346, _davis346_address)]
)
def test_events_of_aedat2_are_read_back(camera: Camera, address, tmp_path: Path) -> None:
    events = moving_digit(3)
    file = _aedat2(tmp_path / "a.aedat", [(address(e), int(e["t"])) for e in events])
    found = read_aedat2(file, camera)
    assert found.sensor == camera.sensor
    assert _same(found.events, events)
    frames = event_frames(found.events, found.sensor, steps=8)
    assert torch.equal(frames[:, :, :8, :16], event_frames(events, SENSOR, steps=8))
    assert frames.sum() == len(events)


def test_another_byte_order_or_camera_would_be_seen(tmp_path: Path) -> None:
    events = moving_digit(3)
    records = [(_dvs128_address(e), int(e["t"])) for e in events]
    swapped = read_aedat2(_aedat2(tmp_path / "a.aedat", records, order="<"), DVS128)
    assert not _same(swapped.events, events)
    with pytest.raises(DataFormatError, match="outside of 180 x 240 pixels"):
        read_aedat2(
            _aedat2(tmp_path / "b.aedat", [(_davis346_address(e), 0) for e in events[:1]]),
            davis(180, 240),
        )


def test_samples_of_pictures_and_motion_are_no_events(tmp_path: Path) -> None:
    events = moving_digit(3)[:5]
    address = _davis346_address(events[0])
    others = [(address | 1 << 31, 7), (address | 1 << 10, 8)]
    records = [(_davis346_address(e), int(e["t"])) for e in events]
    mixed = _aedat2(tmp_path / "a.aedat", [others[0], *records, others[1]])
    assert _same(read_aedat2(mixed, DAVIS346).events, events)
    external = _aedat2(tmp_path / "b.aedat", [(_dvs128_address(events[0]) | 1 << 15, 1)])
    assert len(read_aedat2(external, DVS128).events) == 0


def test_times_go_on_where_32_bits_end(tmp_path: Path) -> None:
    ends = [2**31 - 500, 2**31 + 500, 2**32 - 1, 2**32 + 1, 2**32 + 3]
    middle = list(range(2**31 + 500, 2**32, 2**29))
    times = sorted({*ends, *middle})
    file = _aedat2(tmp_path / "a.aedat", [(0, time % 2**32) for time in times])
    found = read_aedat2(file, DVS128).events["t"]
    assert (found - found[0]).tolist() == [time - times[0] for time in times]


def test_an_address_that_begins_like_a_line_of_the_header_is_an_event(tmp_path: Path) -> None:
    row = 259 - (0x23000000 >> 22)
    event = np.array([(345, row, 5, 0)], dtype=EVENT)
    assert _davis346_address(event[0]) == 0x23000000  # its first byte is #
    # The line feed in the second time would end a line.
    file = _aedat2(tmp_path / "a.aedat", [(0x23000000, 5), (0x23000000, 10)])
    assert read_aedat2(file, DAVIS346).events["t"].tolist() == [5, 10]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin with the line #!AER-DAT2.0"),
        (b"#!AER-DAT3.1\r\n", "it is AEDAT 3.1, not 2.0; convert it to AEDAT 4"),
        (b"#!AER-DAT4.0\r\n", "read it with read_aedat4"),
        (HEADER + bytes(12), "ends in the middle of a record"),
    ],
)
def test_other_files_are_refused(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.aedat").write_bytes(data)
    with pytest.raises(DataFormatError, match=words):
        read_aedat2(tmp_path / "a.aedat", DVS128)


def test_events_of_aedat4_are_read_back() -> None:
    events = moving_digit(3)
    found = read_aedat4(AEDAT4)
    assert found.sensor == SENSOR
    assert _same(found.events, events)
    frames = event_frames(found.events, found.sensor, steps=8)
    assert torch.equal(frames, event_frames(events, SENSOR, steps=8))
    assert not torch.equal(frames, event_frames(moving_digit(4), SENSOR, steps=8))


def test_damaged_and_other_files_are_no_aedat4(tmp_path: Path) -> None:
    data = AEDAT4.read_bytes()
    file = tmp_path / "a.aedat4"
    for damaged in (data[:20], data[: len(data) // 2], data.replace(b"EVTS", b"EVT ")):
        file.write_bytes(damaged)
        with pytest.raises(DataFormatError, match=r"'a\.aedat4' cannot be read"):
            read_aedat4(file)
    with pytest.raises(DataFormatError, match="read it with read_aedat2"):
        read_aedat4(_aedat2(tmp_path / "b.aedat", [(0, 0)]))


def test_a_panic_of_the_decoder_is_a_damaged_file(tmp_path: Path) -> None:
    """In a process of its own, since the decoder reports a panic on its standard error."""
    data = AEDAT4.read_bytes()
    start = len(b"#!AER-DAT4.0\r\n") + 4  # of the place of the table in the header
    (tmp_path / "a.aedat4").write_bytes(data[:start] + b"\xff\xff\x7f\0" + data[start + 4 :])
    script = (
        "from ltl_core.data.aedat import read_aedat4\n"
        "from ltl_core.errors import DataFormatError\n"
        "try:\n    read_aedat4('a.aedat4')\n"
        "except DataFormatError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "panicked" in done.stderr
    assert "'a.aedat4' cannot be read: the file is damaged" in done.stdout


def test_aedat4_without_its_extra_is_refused_in_a_sentence(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(SettingError, match=r"install it: pip install 'tandemcal\[events\]'"):
        read_aedat4(AEDAT4)


def test_sensor_of_a_davis() -> None:
    assert DAVIS346.sensor == Sensor(rows=260, columns=346)
