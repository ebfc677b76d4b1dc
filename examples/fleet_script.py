"""Calibrates a fleet as its chips appear: a teacher, a golden student, then every chip once.

`docker compose up` runs it beside the service. It reads TANDEMCAL_URL and TANDEMCAL_KEY, or the key
from TANDEMCAL_KEY_FILE, waits for TANDEMCAL_DEMO_CHIPS chips (8), and ends once they all have
weights of their own. It may be run again: what is done is not done twice.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lab_script import finished, golden_student
from rich.console import Console

from tandemcal import ChipView, JobView, StudentView, Tandemcal, TandemcalError
from tandemcal.progress import follow_all

WAIT = 300.0  # s for the service, its key and the first chips
LOOK = 2.0  # s between two looks
Found = TypeVar("Found")


def main() -> int:
    """Exit code 0 once every chip has been calibrated."""
    console = Console()
    key = until(read_key, "a key")
    with Tandemcal(os.environ["TANDEMCAL_URL"], key) as client:
        until(lambda: is_there(client), "the service")
        student = student_of(client, console)
        while calibrated(client) < wanted():
            chips = until(lambda: chips_to_do(client), "chips")
            for job in calibrate(client, student, chips, console):
                console.print(sentence(job), highlight=False)
    return 0


def student_of(client: Tandemcal, console: Console) -> StudentView:
    """The golden student that is there, or a new one."""
    return next(iter(client.students.list()), None) or golden_student(client, console)


def calibrated(client: Tandemcal) -> int:
    """How many chips have weights of their own."""
    return sum(chip.version_in_force is not None for chip in client.chips.list())


def chips_to_do(client: Tandemcal) -> list[ChipView]:
    """Chips that answer and were never calibrated."""
    return [
        chip
        for chip in client.chips.list()
        if chip.version_in_force is None and chip.state == "idle" and chip.health != "retired"
    ]


def calibrate(
    client: Tandemcal, student: StudentView, chips: Sequence[ChipView], console: Console
) -> list[JobView]:
    """All at once; the workers take as many as they have room for."""
    jobs = {chip.name: client.jobs.calibrate(chip.id, student.id) for chip in chips}
    return finished(follow_all(client.jobs, jobs, console))


def sentence(job: JobView) -> str:
    """What came of one chip."""
    accuracy = (job.result or {})["accuracy"]
    before, after = 100 * accuracy["before"], 100 * accuracy["after"]
    return f"Chip {job.chip_id}: {before:.1f} % before, {after:.1f} % after."


def wanted() -> int:
    """How many chips the fleet has."""
    return int(os.environ.get("TANDEMCAL_DEMO_CHIPS", "8"))


def read_key() -> str | None:
    """As given, or as the service left it."""
    file = Path(os.environ.get("TANDEMCAL_KEY_FILE", "/data/key"))
    return os.environ.get("TANDEMCAL_KEY") or (file.read_text().strip() if file.exists() else None)


def is_there(client: Tandemcal) -> bool:
    """Whether the service answers."""
    try:
        next(iter(client.chips.list()), None)
    except TandemcalError:
        return False
    return True


def until(look: Callable[[], Found | None], what: str) -> Found:
    """What it finds, once there is something. Ends the script where that takes too long."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(LOOK)
    raise SystemExit(f"After {WAIT:.0f} s there is still no sign of {what}.")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TandemcalError as error:
        sys.exit(f"{error.title}: {error}")
