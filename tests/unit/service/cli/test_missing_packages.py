"""A command whose packages are not installed names the extra that brings them."""

import sys

import pytest
from typer.testing import CliRunner

from service.cli.main import app


@pytest.mark.parametrize(
    ("command", "missing", "extras"),
    [
        (["up"], "service.cli.serve", "server"),
        (["demo"], "service.cli.demo", "server,examples"),
        (["demo"], "sklearn", "server,examples"),
        (["chip", "plot", "pcm"], "matplotlib", "plots"),
    ],
)
def test_the_extra_is_named(
    command: list[str], missing: str, extras: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert f"'tandemcal[{extras}]'" in done.output
