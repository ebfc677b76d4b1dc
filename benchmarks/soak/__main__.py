"""A fleet for an hour: python -m benchmarks.soak [--minutes N] [--jobs N] [--check].

PostgreSQL, an api and two workers. Jobs arrive evenly, 50 listeners each follow one job after the
other, a client polls 50 times a second, and every five minutes a worker is killed and started
again. In the end no job may be lost or doubled and no event missed: each listener's events are
compared with those in the database. Memory and descriptors of every process (of PostgreSQL: memory
and sessions) have to be flat over the last half of its life. Jobs and streams that have not ended
five minutes after the time are missed, and so is a process that was not measured.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fleet.local_fleet import local_fleet
from benchmarks.fleet.processes import THIS_MACHINE, Host
from benchmarks.machine import about
from benchmarks.soak.load import Soak
from benchmarks.soak.record import WORKERS, Extent, Record, report, stored


def main(arguments: Sequence[str], host: Host = THIS_MACHINE) -> int:
    """Run the soak; exit code 1 where `--check` finds something lost or growing."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then the fleet is ended
    extent = Extent(60 * options.minutes, options.jobs or round(1000 * options.minutes / 60))
    found = about("benchmarks.soak") | measure(
        Console(soft_wrap=True, highlight=False), extent, host
    )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    return 1 if options.check and found["missed"] else 0


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Run a fleet for the extent; return what it held, and what was missed."""
    record = Record()
    with (
        tempfile.TemporaryDirectory() as folder,
        local_fleet(
            host, Path(folder), TANDEMCAL_JOB_THREADS="1", TANDEMCAL_PARALLEL_JOBS="1"
        ) as fleet,
    ):
        api = fleet.api()
        workers = {name: fleet.worker(name) for name in WORKERS}
        asyncio.run(Soak(fleet, api, workers, extent, record).run())
        found = report(extent, record, stored(fleet, record))
        _show(console, found)  # before the processes are stopped, which may take long
    return found


def _show(console: Console, found: Mapping[str, Any]) -> None:
    console.print(f"{found['jobs']} jobs in {found['seconds']:.0f} s, {found['kills']} kills")
    console.print(f"  streams {found['streams']}, polls {found['polls']}")
    for name, unit in (("poll_ms", "ms"), ("job_waited_s", "s"), ("job_ran_s", "s")):
        if spread := found[name]:
            values = ", ".join(f"{what} {value:.1f} {unit}" for what, value in spread.items())
            console.print(f"  {name.rpartition('_')[0].replace('_', ' ')}: {values}")
    for name, held in found["held"].items():
        if held:
            console.print(
                f"  {name:10} {held['mib_before']:6.0f} -> {held['mib']:6.0f} MiB   "
                f"{held['handles_before']:4.0f} -> {held['handles']:4.0f} descriptors"
            )
    for line in found["missed"]:
        console.print(f"missed: {line}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, help="1,000 an hour")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--check", action="store_true", help="exit with 1 for what was missed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
