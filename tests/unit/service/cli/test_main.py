"""Help texts show what they say, and each command that shows something does so as JSON too."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.version import code_version
from tests.unit.service.cli.reference import commands

# They change something and say so in a sentence, or write a file.
NO_JSON = {
    *("weights download", "students download", "audit verify", "chip plot"),
    *("agent", "backup", "restore", "up", "api", "worker", "demo", "migrate", "probe"),
}


def test_the_version_is_that_of_the_release() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"tandemcal {code_version()}\n")


def test_square_brackets_in_help_texts_are_shown() -> None:
    assert "[default: chip-plots]" in CliRunner().invoke(app, ["chip", "plot", "--help"]).stdout


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_each_command_prints_json_if_asked(words: str, command: Any) -> None:
    has_json = any("--json" in parameter.opts for parameter in command.params)
    assert has_json != (words in NO_JSON)


def test_the_shell_is_told_how_to_complete() -> None:
    shown = CliRunner().invoke(
        app, [], prog_name="tandemcal", env={"_TANDEMCAL_COMPLETE": "source_bash"}
    )
    assert "_TANDEMCAL_COMPLETE=complete_bash" in shown.stdout


@pytest.mark.parametrize(
    ("words", "environment", "address"),
    [
        ((), {"TANDEMCAL_PORT": "1"}, "http://127.0.0.1:1 "),
        (("--url", "http://127.0.0.1:2"), {"TANDEMCAL_PORT": "1"}, "http://127.0.0.1:2 "),
        ((), {"TANDEMCAL_PORT": "1", "TANDEMCAL_URL": "http://127.0.0.1:3"}, "http://127.0.0.1:3 "),
    ],
)
def test_a_service_is_found_by_the_port_of_its_settings(
    words: tuple[str, ...], environment: dict[str, str], address: str, tmp_path: Path
) -> None:
    environment = {"TANDEMCAL_DATA_DIR": str(tmp_path), "TANDEMCAL_KEY": "none"} | environment
    done = CliRunner().invoke(app, ["doctor", *words], env=environment)
    assert (done.exit_code, address in done.stdout) == (4, True)
