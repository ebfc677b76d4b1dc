"""Calibrates the chips of a fleet as they appear: one teacher, one golden student, all chips.

`docker compose up` runs it beside the service. It reads TANDEMCAL_URL and TANDEMCAL_KEY, or the key
from TANDEMCAL_KEY_FILE, waits for TANDEMCAL_DEMO_CHIPS chips (default 8), and ends once all of them
are calibrated. If it is run again, it continues where it stopped.
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

WAIT = 300.0  # s to wait for the key, the service and the first chips
POLL_INTERVAL = 2.0  # s between two tries
Found = TypeVar("Found")


def main() -> int:
    """Calibrate chips until all of them have been calibrated, then return 0."""
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
    """Return the newest golden student; train one if there is none."""
    return next(iter(client.students.list()), None) or golden_student(client, console)


def calibrated(client: Tandemcal) -> int:
    """Count the chips that have been calibrated."""
    return sum(chip.version_in_force is not None for chip in client.chips.list())


def chips_to_do(client: Tandemcal) -> list[ChipView]:
    """Return the chips that are idle and have not been calibrated."""
    return [
        chip
        for chip in client.chips.list()
        if chip.version_in_force is None and chip.state == "idle" and chip.health != "retired"
    ]


def calibrate(
    client: Tandemcal, student: StudentView, chips: Sequence[ChipView], console: Console
) -> list[JobView]:
    """Calibrate these chips; the workers run as many jobs at once as they have slots."""
    jobs = {chip.name: client.jobs.calibrate(chip.id, student.id) for chip in chips}
    return finished(follow_all(client.jobs, jobs, console))


def sentence(job: JobView) -> str:
    """Describe the result of one chip."""
    accuracy = (job.result or {})["accuracy"]
    before, after = 100 * accuracy["before"], 100 * accuracy["after"]
    return f"Chip {job.chip_id}: {before:.1f} % before, {after:.1f} % after."


def wanted() -> int:
    """Return how many chips to calibrate."""
    return int(os.environ.get("TANDEMCAL_DEMO_CHIPS", "8"))


def read_key() -> str | None:
    """Read the key from the environment, or from the file that the service wrote."""
    file = Path(os.environ.get("TANDEMCAL_KEY_FILE", "/data/key"))
    return os.environ.get("TANDEMCAL_KEY") or (file.read_text().strip() if file.exists() else None)


def is_there(client: Tandemcal) -> bool:
    """Return whether the service answers."""
    try:
        next(iter(client.chips.list()), None)
    except TandemcalError:
        return False
    return True


def until(look: Callable[[], Found | None], what: str) -> Found:
    """Return what `look` finds, once it finds something. Raises SystemExit after `WAIT` s."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(POLL_INTERVAL)
    raise SystemExit(
        f"Waited {WAIT:.0f} s for {what} without success; look at the log of the service."
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TandemcalError as error:
        sys.exit(f"{error.title}: {error}")
