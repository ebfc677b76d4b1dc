"""Measure what requests cost one process of the service: python -m benchmarks.api [--check].

PostgreSQL holds 10,000 chips and 100,000 jobs; 16 connections, every request with a key.

reads      status of a job, whole and unchanged, against a bare FastAPI route in the same run
writes     submissions and heartbeats that one core accepts in a second
burst      a hundred submissions at once, on PostgreSQL and on SQLite: all accepted within 2 s
page       the page of the fleet
listeners  status while 500 listen to two calibrations that the same process runs
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.api import burst, listeners, page, reads, writes
from benchmarks.api.large_service import LargeService, large_service
from benchmarks.fleet.population import Size
from benchmarks.fleet.processes import THIS_MACHINE, Host
from benchmarks.job_latency import SMALL
from benchmarks.machine import about


class Part(NamedTuple):
    """A measurement, and how much it measures in full and with `--quick`.

    It returns its figures, and in words what it "missed".
    """

    measure: Callable[[Console, LargeService, Any], dict[str, Any]]
    full: Any  # the extent, of a type of the part's own
    quick: Any


PARTS: Mapping[str, Part] = {
    "reads": Part(reads.measure, reads.Extent(3000, 5), reads.Extent(300, 1)),
    "writes": Part(writes.measure, writes.Extent(50, 1000, 4000, 3), writes.Extent(4, 20, 40, 1)),
    "burst": Part(burst.measure, burst.Extent(100, 5), burst.Extent(20, 1, 4)),
    "page": Part(page.measure, 20, 2),
    "listeners": Part(
        listeners.measure, listeners.Extent(500, 30.0), listeners.Extent(20, 2.0, SMALL)
    ),
}
SIZE, QUICK_SIZE = Size(10_000, 100_000, 1_000, 500), Size(100, 2_000, 60, 30)


def main(arguments: Sequence[str], host: Host = THIS_MACHINE) -> int:
    """Run the parts; exit code 1 where `--check` finds a figure out of its limit."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    chosen = options.part or list(PARTS)
    found: dict[str, Any] = about("benchmarks.api")
    with large_service(host, QUICK_SIZE if options.quick else SIZE, console) as service:
        for name in chosen:
            part = PARTS[name]
            extent = part.quick if options.quick else part.full
            found[name] = part.measure(console, service, extent)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    missed = [f"{name}: {what}" for name in chosen for what in found[name]["missed"]]
    for line in missed if options.check else ():
        console.print(f"missed: {line}")
    return 1 if options.check and missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.api",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="several times; all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions")
    parser.add_argument("--check", action="store_true", help="exit with 1 out of a limit")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
