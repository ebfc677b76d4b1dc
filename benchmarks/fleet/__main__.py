"""Measure a fleet on this machine: python -m benchmarks.fleet [--part NAME] [--check].

workers   jobs an hour with one worker and with two
recovery  from SIGKILL of a worker until a survivor goes on with its job
http      a job over HTTP beside the same job in process
wire      what travels of a run
queue     how fast jobs get into the queue and out of it
rows      questions to 10,000 chips and a million jobs; --plans shows how they are answered
storage   bytes that a job leaves in the database
commits   commits with events, and heartbeats of agents, a second
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.fleet import commits, http, queue, recovery, rows, storage, wire, workers
from benchmarks.fleet.processes import THIS_MACHINE, Host
from benchmarks.machine import about


class Part(NamedTuple):
    """A measurement, and how much it measures in full and with `--quick`.

    It returns its figures, with "passed" among them where there is something to hold, and what was
    "missed" in words.
    """

    measure: Callable[[Console, Any, Host], dict[str, Any]]
    full: Any  # the extent, of a type of the part's own
    quick: Any


PARTS: Mapping[str, Part] = {
    "workers": Part(workers.measure, workers.FULL, workers.QUICK),
    "recovery": Part(recovery.measure, recovery.FULL, recovery.QUICK),
    "http": Part(http.measure, http.FULL, http.QUICK),
    "wire": Part(wire.measure, wire.FULL, wire.QUICK),
    "queue": Part(queue.measure, queue.FULL, queue.QUICK),
    "rows": Part(rows.measure, rows.FULL, rows.QUICK),
    "storage": Part(storage.measure, storage.FULL, storage.QUICK),
    "commits": Part(commits.measure, commits.FULL, commits.QUICK),
}


def main(arguments: Sequence[str], host: Host = THIS_MACHINE) -> int:
    """Run the parts; exit code 1 where `--check` finds a figure out of its limit."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    chosen = options.part or list(PARTS)
    found = about("benchmarks.fleet") | {
        name: _measured(PARTS[name], options.quick, console, host) for name in chosen
    }
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    if options.plans and "rows" in found:
        rows.show_plans(console, found["rows"])
    missed = [
        f"{part}: {what}"
        for part in chosen
        if not found[part].get("passed", True)
        for what in found[part].get("missed", ["out of its limit"])
    ]
    for line in missed if options.check else ():
        console.print(f"missed: {line}")
    return 1 if options.check and missed else 0


def _measured(part: Part, quick: bool, console: Console, host: Host) -> dict[str, Any]:
    return part.measure(console, part.quick if quick else part.full, host)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="several times; all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--check", action="store_true", help="exit with 1 out of a limit")
    parser.add_argument("--plans", action="store_true", help="show how questions are answered")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
