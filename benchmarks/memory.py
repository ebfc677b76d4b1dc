"""Peak memory of a piece of work, above what was held before it (Linux, glibc)."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets VmHWM to the memory in use


class Peak:
    """Peak in bytes, filled in when the work has ended."""

    byte_count: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak of memory inside the block; `byte_count` has it afterwards."""
    gc.collect()
    # What was freed but is still held would hide as much of what comes.
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text(_RESET_PEAK)
    before, peak = _field("VmRSS"), Peak()
    yield peak
    peak.byte_count = _field("VmHWM") - before


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no field {name}.")
