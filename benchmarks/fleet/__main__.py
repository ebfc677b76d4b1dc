"""What a fleet can do: python -m benchmarks.fleet --part http."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fleet import http, wire
from benchmarks.machine import about

# A part takes the console and whether to be quick; it returns its figures, with "passed" among them
# where there is something to hold.
Part = Callable[[Console, bool], dict[str, Any]]
PARTS: Mapping[str, Part] = {"http": http.measure, "wire": wire.measure}


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 where `--check` finds a figure out of its limit."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    chosen = options.part or list(PARTS)
    found = about("benchmarks.fleet") | {
        part: PARTS[part](console, options.quick) for part in chosen
    }
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    failed = [part for part in chosen if not found[part].get("passed", True)]
    if failed and options.check:
        console.print(f"out of its limit: {', '.join(failed)}")
    return 1 if options.check and failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="several times; all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--check", action="store_true", help="exit with 1 out of a limit")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
