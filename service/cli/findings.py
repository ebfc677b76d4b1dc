"""What `tandemcal doctor` finds: of each check its outcome, and what to do."""

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  # it works, but not as well as it should
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be checked


class Finding(NamedTuple):
    """The outcome of one check."""

    check: str
    outcome: Outcome
    found: str
    advice: str | None = None  # what to do


def ok(check: str, found: str) -> Finding:
    """Return the finding of a check that came out well."""
    return Finding(check, Outcome.OK, found)


def failed(check: str, found: str, advice: str) -> Finding:
    """Return the finding of something that does not work."""
    return Finding(check, Outcome.FAILED, found, advice)


def warning(check: str, found: str, advice: str) -> Finding:
    """Return the finding of something that works badly."""
    return Finding(check, Outcome.WARNING, found, advice)


def skipped(check: str, found: str) -> Finding:
    """Return the finding of a check that was not made, and why."""
    return Finding(check, Outcome.SKIPPED, found)
