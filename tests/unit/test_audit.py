"""The check of pinned packages: a find fails it, and silence is not taken for safety."""

from collections.abc import Sequence
from typing import Any

from tests.audit import Outcome, Verdict, exit_code, judge

SAFE: dict[str, Any] = {"name": "safe", "version": "1.0", "vulns": []}
HOLED: dict[str, Any] = {
    "name": "holed",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}],
}
MISSING: dict[str, Any] = {"name": "missing", "skip_reason": "Dependency not found"}


PINNED = ["# a comment", "safe==1.0", "other==2.0"]


def judged(first: Sequence[dict[str, Any]], *packages: dict[str, Any]) -> Verdict:
    """The verdict where the database answers so for the first package, and so for all."""
    return judge(PINNED, lambda asked: first if len(asked) == 1 else packages)


def test_packages_without_a_known_vulnerability_are_safe() -> None:
    verdict = judged([SAFE], SAFE, SAFE)
    assert verdict == (Outcome.SAFE, ["safe: 2 of 2 packages looked up"])
    assert exit_code(verdict, required=True) == 0


def test_a_vulnerable_package_fails_the_check() -> None:
    verdict = judged([SAFE], SAFE, HOLED)
    assert verdict.outcome is Outcome.VULNERABLE
    assert verdict.lines[0] == "vulnerable: holed 2.0: PYSEC-1, mended in 2.1"
    assert exit_code(verdict, required=False) == 1


def test_where_nothing_is_known_the_check_says_that_it_was_skipped() -> None:
    for silence in ([], [MISSING]):
        verdict = judged(silence, SAFE, SAFE)
        assert verdict.outcome is Outcome.SKIPPED
        assert verdict.lines[-1].startswith("skipped: ")
        assert (exit_code(verdict, required=False), exit_code(verdict, required=True)) == (0, 1)


def test_a_database_that_stops_to_answer_leaves_packages_unknown_and_fails_the_check() -> None:
    verdict = judged([SAFE], SAFE, MISSING)
    assert verdict == (
        Outcome.INCOMPLETE,
        ["incomplete: 1 of 2 packages looked up; nothing is known of missing"],
    )
    for found in (verdict, judged([SAFE])):
        assert found.outcome is Outcome.INCOMPLETE
        assert exit_code(found, required=False) == 1
