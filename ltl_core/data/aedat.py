"""Readers of AEDAT 2.0 and AEDAT 4 (`.aedat`, `.aedat4`), the files of event cameras.

AEDAT 2.0 is a header of text, then for each record a 32-bit address and a 32-bit time in
microseconds, big-endian. The camera decides what an address means. AEDAT 4 names its sensor; it is
read with the package `aedat` (the extra `events`), which `tonic` uses too. In both, row 0 is the
top of the picture and column 0 its left, as jAER shows it.
"""

import re
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ltl_core.data.events import Sensor
from ltl_core.errors import DataFormatError, SettingError

_EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
_RECORD = np.dtype([("address", ">u4"), ("time", ">i4")])
_VERSION = re.compile(rb"#!AER-DAT(\d+\.\d+)\r?\n")


class Recording(NamedTuple):
    """Events of one file, for `event_frames`, and the size of the sensor that saw them."""

    events: NDArray[Any]  # x and y in pixels, t in microseconds, p: 1 where it became brighter
    sensor: Sensor


class Bits(NamedTuple):
    """Some bits of an address, one behind the other."""

    first: int  # number of the lowest
    width: int

    def of(self, address: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number that these bits of each address are."""
        return address >> self.first & (1 << self.width) - 1


class Camera(NamedTuple):
    """A camera's addresses in AEDAT 2.0: which of their 32 bits hold what.

    Addresses count columns from the right, and rows from the bottom of the picture.
    """

    sensor: Sensor
    column: Bits
    row: Bits
    polarity: Bits
    brighter: int  # polarity of a pixel that became brighter
    other: int  # bits of which one is set in a record that is no event of a pixel


# The polarity is that of the camera and of jAER, which the published table of bits has inverted.
# Bit 15 marks an external event.
DVS128 = Camera(Sensor(128, 128), Bits(1, 7), Bits(8, 7), Bits(0, 1), brighter=0, other=1 << 15)


def davis(rows: int, columns: int) -> Camera:
    """Return a camera of the DAVIS family, such as `davis(260, 346)` for a DAVIS346.

    Bit 31 marks samples of its pictures, bit 10 external events and samples of its motion.
    """
    other = 1 << 31 | 1 << 10
    return Camera(Sensor(rows, columns), Bits(12, 10), Bits(22, 9), Bits(11, 1), 1, other)


def read_aedat2(path: str | PathLike[str], camera: Camera) -> Recording:
    """Return the events of pixels in a file of AEDAT 2.0; other records of it are left out.

    Times go on where their 32 bits are used up, after 36 minutes and again each 72 minutes. Raises
    DataFormatError if it is another kind of file, is cut, or is of a larger camera, and OSError.
    """
    path = Path(path)
    data = path.read_bytes()
    _check_version(data, path.name, "2.0")
    body = memoryview(data)[_end_of_header(data) :]
    if len(body) % _RECORD.itemsize:
        raise DataFormatError(path.name, "it ends in the middle of a record")
    records = np.frombuffer(body, _RECORD)
    address = records["address"].astype(np.int64)
    pixels = address & camera.other == 0
    return _events_at(address[pixels], _whole_times(records["time"])[pixels], camera, path.name)


def read_aedat4(path: str | PathLike[str]) -> Recording:
    """Return the events of a file of AEDAT 4; of several event streams, those of the first.

    A few kinds of damage make the decoder abort the process, so read files that nobody vouches for
    in one of their own. Raises SettingError if the package `aedat` is not installed,
    DataFormatError if the file cannot be decoded or holds no events, and OSError.
    """
    path = Path(path)
    with path.open("rb") as file:
        _check_version(file.read(16), path.name, "4.0")
    try:
        import aedat
    except ImportError as error:
        raise SettingError(
            "Files of AEDAT 4 are read with the package aedat; install it: "
            "pip install 'tandemcal[events]'."
        ) from error
    try:
        return _decoded(aedat.Decoder(path), path.name)
    except BaseException as error:
        # The decoder panics on some damaged files, and a panic is no Exception.
        if isinstance(error, RuntimeError | ValueError) or type(error).__name__ == "PanicException":
            raise DataFormatError(path.name, f"the file is damaged ({error})") from error
        raise


def _check_version(data: bytes, source: str, wanted: str) -> None:
    found = _VERSION.match(data)
    if found is None:
        raise DataFormatError(source, f"it does not begin with the line #!AER-DAT{wanted}")
    if (version := found[1].decode()) != wanted:
        reader = {"2.0": "read_aedat2", "4.0": "read_aedat4"}.get(version)
        advice = f"read it with {reader}" if reader else "convert it to AEDAT 4"
        raise DataFormatError(source, f"it is AEDAT {version}, not {wanted}; {advice}")


def _end_of_header(data: bytes) -> int:
    """Return where the records begin: behind the last line of text that begins with #.

    The first byte of an address can be # too, but zeros follow soon, which text has none of.
    """
    start = 0
    while data[start : start + 1] == b"#":
        end = data.find(b"\n", start) + 1
        if not end or any(byte < 32 and byte not in b"\t\r\n" for byte in data[start:end]):
            break
        start = end
    return start


def _whole_times(times: NDArray[Any]) -> NDArray[np.int64]:
    """Return times of 32 bits as times that go on: no two neighbours are 36 minutes apart."""
    if not len(times):
        return times.astype(np.int64)
    steps = np.diff(times.astype(np.int64))
    nearest = np.remainder(steps + 2**31, 2**32) - 2**31
    return np.concatenate(([0], np.cumsum(nearest))) + int(times[0])


def _events_at(
    address: NDArray[np.int64], times: NDArray[np.int64], camera: Camera, source: str
) -> Recording:
    """Return the events that addresses stand for. Raises DataFormatError."""
    sensor = camera.sensor
    events = np.empty(len(address), dtype=_EVENT)
    events["x"] = sensor.columns - 1 - camera.column.of(address)
    events["y"] = sensor.rows - 1 - camera.row.of(address)
    events["t"] = times
    events["p"] = camera.polarity.of(address) == camera.brighter
    if outside := int(((events["x"] < 0) | (events["y"] < 0)).sum()):
        raise DataFormatError(
            source,
            f"{outside} events lie outside of {sensor.rows} x {sensor.columns} pixels; name the "
            "camera that wrote it",
        )
    return Recording(events, sensor)


def _decoded(decoder: Any, source: str) -> Recording:
    """Return the events of the first event stream. Raises DataFormatError."""
    sizes = {
        number: Sensor(stream["height"], stream["width"])
        for number, stream in decoder.id_to_stream().items()
        if stream["type"] == "events"
    }
    packets = [packet for packet in decoder if packet["stream_id"] == min(sizes, default=None)]
    if not packets:
        raise DataFormatError(source, "it holds no events")
    found = np.concatenate([packet["events"] for packet in packets])
    events = np.empty(len(found), dtype=_EVENT)
    for field, name in {"x": "x", "y": "y", "t": "t", "p": "on"}.items():
        events[field] = found[name]
    return Recording(events, sizes[min(sizes)])
