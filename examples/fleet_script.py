"""Calibrates the chips of a fleet as they appear: one teacher, one golden student, all chips.

`docker compose up` runs it beside the service. It reads TANDEMCAL_URL and TANDEMCAL_KEY, or the key
from TANDEMCAL_KEY_FILE, waits for TANDEMCAL_DEMO_CHIPS chips (default 8), and ends once all of them
are calibrated. If it is run again, it continues where it stopped: jobs that exist are followed, and
none is sent twice.
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from itertools import islice
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
        done: set[str] = set()
        while len(done) < wanted():
            chips = until(lambda: chips_to_do(client, done), "chips")
            for job in calibrate(client, student, chips, console):
                console.print(sentence(job), highlight=False)
            done.update(chip.id for chip in chips)
    return 0


def student_of(client: Tandemcal, console: Console) -> StudentView:
    """Return the newest golden student: one that is there, that is being trained, or a new one."""
    if found := next(iter(client.students.list()), None):
        return found
    going_on = (job for job in client.jobs.list(kind="train") if not job.terminal)
    if job := next(going_on, None):
        (ended,) = finished(follow_all(client.jobs, {"golden student": job}, console))
        return client.students.get(str(ended.student_id))
    return golden_student(client, console)


def chips_to_do(client: Tandemcal, done: Collection[str]) -> list[ChipView]:
    """Return those of the oldest chips, as many as are wanted, that can be driven and are not done.

    A retired chip is none of them.
    """
    chips = (chip for chip in client.chips.list(sort="created_at") if chip.health != "retired")
    return [
        chip for chip in islice(chips, wanted()) if chip.id not in done and chip.state != "offline"
    ]


def calibrate(
    client: Tandemcal, student: StudentView, chips: Sequence[ChipView], console: Console
) -> list[JobView]:
    """Calibrate these chips; the workers run as many jobs at once as they have slots."""
    jobs = {chip.name: calibration_of(client, chip, student) for chip in chips}
    return finished(follow_all(client.jobs, jobs, console))


def calibration_of(client: Tandemcal, chip: ChipView, student: StudentView) -> JobView:
    """Return the newest calibration of a chip to this student; submit one if there is none."""
    for job in client.jobs.list(kind="calibrate", chip_id=chip.id):
        if job.student_id == student.id and (not job.terminal or job.status == "succeeded"):
            return job
    return client.jobs.calibrate(chip.id, student.id)


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
