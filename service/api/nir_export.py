"""Students as files of NIR, the Neuromorphic Intermediate Representation."""

import json
import subprocess  # nosec B404 # no shell, and a program of our own
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from service.api.nir_child import MISSING, NIR, REFUSAL, STUDENT
from service.errors import NirFailedError, NirMissingError
from service.request_errors import NotInNirError

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from service.api.nir_child import main; main(sys.argv[1])"
)
_LIMIT = 120.0  # s; most of it is the loading of torch


def nir_file(student: bytes) -> bytes:
    """Return the NIR file of a student, given its block, from a process of its own.

    Raises NotInNirError for what NIR cannot express, NirMissingError without the package, and
    NirFailedError if the process crashes or takes too long.
    """
    with TemporaryDirectory(prefix="nir-") as name:
        folder = Path(name)
        (folder / STUDENT).write_bytes(student)
        words = [sys.executable, "-P", "-c", _PROGRAM, name, json.dumps(sys.path)]
        try:
            done = subprocess.run(  # nosec B603 # no shell; the program is written above
                words, capture_output=True, text=True, timeout=_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise NirFailedError(f"it took longer than {_LIMIT:g} s") from None
        return _read(folder, done)


def _read(folder: Path, done: subprocess.CompletedProcess[str]) -> bytes:
    if (folder / NIR).exists():
        return (folder / NIR).read_bytes()
    if (folder / REFUSAL).exists():
        raise NotInNirError((folder / REFUSAL).read_text())
    if (folder / MISSING).exists():
        raise NirMissingError((folder / MISSING).read_text())
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise NirFailedError(last[0])
