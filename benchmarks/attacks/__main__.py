"""Attack a service of this machine: python -m benchmarks.attacks [--part NAME] [--check].

The stranger computes on the cores of the service: with the least priority, or `--priority equal`.

A client with a key asks for the status of a job, 50 times a second, while a calibration runs and:

quiet        nothing else happens
bodies       a stranger sends 99 MB of `[],[],...` without a key, four at a time
headers      a stranger sends header blocks of 20 to 100 MB, and drips 1,500 others
connections  a stranger holds 1,200 idle connections; a user asks for times of 1e308 s
guard        (no attack) what the guard of connections costs a trivial route
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.attacks import guard_cost
from benchmarks.attacks.key_holder import key_holder
from benchmarks.attacks.victim import Victim, attacked, feel, running_victim
from benchmarks.fleet.processes import THIS_MACHINE, Host
from benchmarks.job_latency import DIGITS, Workload
from benchmarks.machine import about

P99_MS = 100.0  # limits
GROWTH_MIB = 200e6 / 2**20
_REFUSED = {"422": 1}  # status of the answers to absurd requests, where some were sent
ATTACKS = ("quiet", "bodies", "headers", "connections")
SECONDS, QUICK_SECONDS = 60.0, 5.0
GUARD, QUICK_GUARD = guard_cost.Extent(5, 4.0), guard_cost.Extent(1, 1.0)


class Run(NamedTuple):
    """How each attack is made."""

    seconds: float
    priority: str  # of the stranger's process: least or equal


def main(arguments: Sequence[str], host: Host = THIS_MACHINE, workload: Workload = DIGITS) -> int:
    """Run the parts; exit code 1 where `--check` finds a figure out of its limit."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    chosen = options.part or [*ATTACKS, "guard"]
    run = Run(seconds, options.priority)
    found: dict[str, Any] = {**about("benchmarks.attacks"), **run._asdict()}
    if attacks := [name for name in ATTACKS if name in chosen]:
        found |= _attack(console, host, workload, attacks, run)
    if "guard" in chosen:
        found["guard"] = guard_cost.measure(console, QUICK_GUARD if options.quick else GUARD)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    missed = [f"{name}: {what}" for name in attacks for what in missed_by(found[name])]
    for line in missed if options.check else ():
        console.print(f"missed: {line}")
    return 1 if options.check and missed else 0


def missed_by(felt: dict[str, Any]) -> list[str]:
    """Return which limits one attack broke, in words."""
    wrong = {
        f"p99 of {felt['p99_ms']:.0f} ms": felt["p99_ms"] >= P99_MS,
        f"memory grew by {felt['growth_mib']:.0f} MiB": felt["growth_mib"] >= GROWTH_MIB,
        f"{felt['leases_lost']} leases lost": felt["leases_lost"] > 0,
        f"the calibration {felt['status']}": felt["status"] not in ("running", "succeeded"),
        f"the calibration took {felt['attempts']} attempts": felt["attempts"] != 1,
        "absurd requests were not all answered 422": set(felt.get("key_holder", _REFUSED))
        != set(_REFUSED),
    }
    return [what for what, is_wrong in wrong.items() if is_wrong]


def _attack(
    console: Console, host: Host, workload: Workload, attacks: Sequence[str], run: Run
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_victim(host, Path(folder), workload) as victim,
    ):
        for name in attacks:
            victim.calibrate()
            found[name] = _feel(victim, name, run)
            _show(console, name, found[name])
    return found


def _feel(victim: Victim, name: str, run: Run) -> dict[str, Any]:
    answers: Counter[int] = Counter()
    user = key_holder(victim, answers) if name == "connections" else nullcontext()
    attack = None if name == "quiet" else name
    with user as beside, attacked(victim, attack, *run) as stranger:
        felt = feel(victim, run.seconds, beside)._asdict()
    if name == "connections":
        felt["key_holder"] = {str(status): number for status, number in answers.items()}
    return felt | {"stranger": stranger}


def _show(console: Console, name: str, felt: dict[str, Any]) -> None:
    console.print(
        f"  {name:12} p50 {felt['p50_ms']:6.1f} ms  p99 {felt['p99_ms']:6.1f} ms  "
        f"worst {felt['worst_ms']:7.1f} ms  memory +{felt['growth_mib']:.0f} MiB  "
        f"leases lost {felt['leases_lost']}  {felt['stranger']}"
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", action="append", choices=[*ATTACKS, "guard"], help="all")
    parser.add_argument("--seconds", type=float, help=f"of each attack ({SECONDS:.0f})")
    parser.add_argument(
        "--priority", choices=["least", "equal"], default="least", help="of the stranger (least)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:.0f} s each")
    parser.add_argument("--check", action="store_true", help="exit with 1 out of a limit")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
