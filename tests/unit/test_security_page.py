"""Every promise of docs/security.md names a test that exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
_NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")
_ROW = re.compile(r"^\| .+ \|$", re.MULTILINE)


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


NAMED = sorted(set(_NAMED.findall(PAGE.read_text())))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_holds_a_promise_exists(file: str, name: str) -> None:
    assert name in names_in(file)


def test_each_promise_names_a_test() -> None:
    rows = [row for row in _ROW.findall(PAGE.read_text()) if not row.startswith("| promise")]
    assert len(rows) > 20
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_a_test_that_is_gone_would_be_noticed() -> None:
    assert "test_that_was_never_written" not in names_in(NAMED[0][0])
