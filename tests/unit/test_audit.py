"""The check of pinned packages: a find fails it, and silence is not taken for safety."""

from typing import Any

from tests.audit import judge

SAFE: dict[str, Any] = {"name": "safe", "version": "1.0", "vulns": []}
HOLED: dict[str, Any] = {
    "name": "holed",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}],
}
MISSING: dict[str, Any] = {"name": "missing", "skip_reason": "Dependency not found"}


def test_a_vulnerable_package_fails_the_check() -> None:
    verdict = judge([SAFE, HOLED])
    assert not verdict.passed
    assert verdict.lines[0] == "vulnerable: holed 2.0: PYSEC-1, mended in 2.1"
    assert judge([SAFE]).passed


def test_where_nothing_is_known_the_check_says_that_it_was_skipped() -> None:
    for packages in ([], [MISSING]):
        verdict = judge(packages)
        assert verdict.passed
        assert "skipped" in verdict.lines[0]
    assert not any("skipped" in line for line in judge([SAFE]).lines)


def test_packages_that_nobody_knows_are_named() -> None:
    assert "missing" in " ".join(judge([SAFE, MISSING]).lines)
