"""Looks the pinned packages up in the database of known vulnerabilities: python -m tests.audit.

Where no such database can be reached, nothing is known, and a sentence says so. pip-audit itself
would report "No known vulnerabilities found" there.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PINNED = Path(__file__).parents[1] / "constraints.txt"


class Verdict(NamedTuple):
    """What was found out."""

    passed: bool
    lines: list[str]


def main() -> int:
    """Audit one package to learn whether there is a database, then all; exit code 1 for a find."""
    pinned = PINNED.read_text().splitlines()
    answer = audited(pinned[:1])
    verdict = judge(audited(pinned) if _known(answer) else answer)
    sys.stdout.writelines(f"{line}\n" for line in verdict.lines)
    return 0 if verdict.passed else 1


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


def judge(packages: Sequence[dict[str, Any]]) -> Verdict:
    """Return whether the packages may be used, and why not."""
    known, finds = _known(packages), [f"vulnerable: {line}" for line in _finds(packages)]
    if not known:
        return Verdict(True, ["pip-audit: skipped, no database of vulnerabilities answers here"])
    missing = [one["name"] for one in packages if one not in known]
    unknown = [f"pip-audit: nothing is known of {', '.join(missing)}"] if missing else []
    return Verdict(not finds, [*finds, *unknown, f"pip-audit: looked up {len(known)} packages"])


def _known(packages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in packages if "vulns" in one]


def _finds(packages: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{one['name']} {one['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version'}"
        for one in _known(packages)
        for found in one["vulns"]
    ]


if __name__ == "__main__":
    sys.exit(main())
