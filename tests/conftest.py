"""Set before anything else is loaded: one thread for torch, and temporary files in memory.

Every test begins with the same state of torch's generator.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

# Sums of floats depend on the number of threads, and two workers of two threads each take twice
# the time. Torch reads it when it is loaded; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that wait must not spin: with two of them in each of three processes nothing goes on.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Hundreds of processes start in these tests: where bytecode is not written, each of them compiles
# torch and the service anew, 6 s of a core for a start in place of 3. What is written lies beside
# the sources, or where PYTHONPYCACHEPREFIX says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30  # bytes, several times what all tests together need
_SEED = 86_420  # unlike the small seeds of the tests' own generators


def _memory_has_room() -> bool:
    """Return whether there is a file system in memory, with room and for programs too."""
    if not os.access(_MEMORY, os.W_OK):
        return False
    found = os.statvfs(_MEMORY)
    return found.f_bavail * found.f_frsize >= _ROOM and not found.f_flag & os.ST_NOEXEC


# Tests commit to databases and write small files all the time, and nothing of it has to last. On a
# disk that takes 5 ms for a commit, tests of the database took half as long again.
if "TMPDIR" not in os.environ and _memory_has_room():
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # is looked up again


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Draw the same numbers in every run: a limit that is met once must not be missed by chance.

    Tests that never load torch do not pay for it.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(_SEED)
