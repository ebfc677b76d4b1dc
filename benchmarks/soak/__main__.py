"""A fleet for an hour: python -m benchmarks.soak [--minutes N] [--jobs N] [--check].

PostgreSQL, an api and two workers. Jobs arrive evenly, 50 listeners each follow one job after the
other, a client polls 50 times a second, and every five minutes a worker is killed and started
again. In the end no job may be lost or doubled, no event missed, and memory and descriptors of
every process have to be flat over the last half.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fleet.local_fleet import local_fleet, open_jobs
from benchmarks.fleet.processes import THIS_MACHINE, Host, until
from benchmarks.machine import about
from benchmarks.soak.load import Soak
from benchmarks.soak.record import Extent, Record, lost_jobs, report

_WORKERS = ("first", "second")
_ONE_THREAD = {"TANDEMCAL_JOB_THREADS": "1", "TANDEMCAL_PARALLEL_JOBS": "1"}


def main(arguments: Sequence[str], host: Host = THIS_MACHINE) -> int:
    """Run the soak; exit code 1 where `--check` finds something lost or growing."""
    options = _options(arguments)
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
        workers = {name: fleet.worker(name) for name in _WORKERS}
        asyncio.run(Soak(fleet, api, workers, extent, record).run())
        until(lambda: not open_jobs(fleet, record.jobs), "all jobs have ended", pause=0.5)
        lost = lost_jobs(fleet, record)
    found = report(extent, record, lost)
    _show(console, found)
    return found


def _show(console: Console, found: Mapping[str, Any]) -> None:
    console.print(f"{found['jobs']} jobs in {found['seconds']:.0f} s, {found['kills']} kills")
    console.print(f"  streams {found['streams']}, polls {found['polls']}")
    console.print(f"  polls: p50 {found['poll_p50_ms']:.1f} ms, p99 {found['poll_p99_ms']:.1f} ms")
    for name, held in found["held"].items():
        console.print(
            f"  {name:10} {held['mib_before']:6.0f} -> {held['mib']:6.0f} MiB   "
            f"{held['descriptors_before']:4.0f} -> {held['descriptors']:4.0f} descriptors"
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
