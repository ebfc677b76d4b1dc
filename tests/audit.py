"""Looks the pinned packages up in the database of known vulnerabilities: python -m tests.audit.

The last line begins with the verdict: safe, vulnerable, incomplete or skipped. Where no such
database can be reached, nothing is known: the check is skipped, which is not safe, and with
`--required` it fails. pip-audit itself would report "No known vulnerabilities found" there.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

PINNED = Path(__file__).parents[1] / "constraints.txt"
Ask = Callable[[Sequence[str]], Sequence[dict[str, Any]]]


class Outcome(StrEnum):
    """What is known of the packages."""

    SAFE = "safe"  # of each, that it has no known vulnerability
    VULNERABLE = "vulnerable"
    INCOMPLETE = "incomplete"  # the database answered, but not for every package
    SKIPPED = "skipped"  # nothing: the database did not answer


class Verdict(NamedTuple):
    """What was found out."""

    outcome: Outcome
    lines: list[str]


def main(arguments: Sequence[str] = ()) -> int:
    """Audit all packages; exit code 1 for a find, with `--required` also where little is known."""
    verdict = judge(PINNED.read_text().splitlines(), audited)
    sys.stdout.writelines(f"{line}\n" for line in verdict.lines)
    return exit_code(verdict, required="--required" in arguments)


def exit_code(verdict: Verdict, *, required: bool) -> int:
    """Return 1 where packages may not be used. A database that stops to answer is no silence."""
    accepted = {Outcome.SAFE} if required else {Outcome.SAFE, Outcome.SKIPPED}
    return 0 if verdict.outcome in accepted else 1


def judge(pinned: Sequence[str], ask: Ask) -> Verdict:
    """Ask for one package, to learn whether a database answers, then for all."""
    names = [line for line in pinned if line.strip() and not line.lstrip().startswith("#")]
    if not _known(ask(names[:1])):
        line = (
            f"skipped: no database of vulnerabilities answers, {len(names)} packages not looked up"
        )
        return Verdict(Outcome.SKIPPED, [line])
    packages = ask(names)
    known, finds = len(_known(packages)), _finds(packages)
    asked = f"{known} of {len(names)} packages looked up"
    if finds:
        return Verdict(Outcome.VULNERABLE, [*finds, f"vulnerable: {asked}"])
    if known < len(names):
        missing = ", ".join(one["name"] for one in packages if "vulns" not in one)
        return Verdict(Outcome.INCOMPLETE, [f"incomplete: {asked}; nothing is known of {missing}"])
    return Verdict(Outcome.SAFE, [f"safe: {asked}"])


def audited(pinned: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Return what pip-audit says of each package; nothing where it has no network."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pinned))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--timeout=5"]
        command += ["--progress-spinner=off", "--format=json", f"--requirement={file.name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return []
    return found


def _known(packages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in packages if "vulns" in one]


def _finds(packages: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"vulnerable: {one['name']} {one['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version'}"
        for one in _known(packages)
        for found in one["vulns"]
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
