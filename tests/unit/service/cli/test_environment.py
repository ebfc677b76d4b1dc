"""A bad setting is a sentence, a misspelt one is named, a taken port says which setting it is."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.environment import unknown_variables
from service.cli.main import app

COMMANDS = (["up"], ["api"], ["worker"], ["migrate"], ["backup", "folder"], ["restore", "folder"])
BAD = {
    "a number": ("TANDEMCAL_PORT", "many"),
    "a list": ("TANDEMCAL_SERVED_HOSTS", "[no json"),
    "half of a pair": ("TANDEMCAL_TLS_KEY", "/key.pem"),
}


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give commands a folder of their own, and let them change no log and no umask."""
    monkeypatch.setenv("TANDEMCAL_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("service.cli.serve.configure_logging", lambda *_, **__: None)
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(arguments: list[str]) -> Any:
    return CliRunner().invoke(app, arguments)


def refused(arguments: list[str], setting: str) -> None:
    done = run(arguments)
    assert done.exit_code == 1
    assert setting.lower() in done.output.lower().replace("\n", " ")
    assert isinstance(done.exception, SystemExit)  # no traceback
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_bad_setting_is_a_sentence_for_every_command(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEMCAL_LEASE_S", "-1")
    refused(command, "TANDEMCAL_LEASE_S is not valid: Input should be greater than 0")


@pytest.mark.parametrize(("name", "value"), BAD.values(), ids=BAD)
def test_every_kind_of_bad_value_is_a_sentence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    refused(["migrate"], name.removeprefix("TANDEMCAL_"))


def test_an_agent_names_its_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEMCAL_AGENT_REACH_S", "soon")
    refused(["agent"], "TANDEMCAL_AGENT_REACH_S is not valid")


def test_the_value_of_a_setting_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEMCAL_JOIN_KEY", "a short secret")
    assert "a short secret" not in run(["migrate"]).output


@pytest.mark.usefixtures("_folder")
def test_a_misspelt_setting_is_named_and_the_command_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TANDEMCAL_PARALEL_JOBS", "4")
    done = run(["migrate"])
    assert done.exit_code == 0, done.output
    assert "TANDEMCAL_PARALEL_JOBS" in done.output
    assert "did you mean TANDEMCAL_PARALLEL_JOBS?" in done.output.replace("\n", " ")
    assert "is up to date" in done.output.replace("\n", " ")


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("command", [["chips"], ["doctor"]])
def test_commands_of_the_client_name_misspelt_settings_too(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEMCAL_PROT", "8123")
    assert "No setting is named TANDEMCAL_PROT" in run([*command, "--url", "http://x."]).output
    monkeypatch.delenv("TANDEMCAL_PROT")
    assert "No setting is named" not in run([*command, "--url", "http://x."]).output


def test_only_variables_of_ours_that_nothing_reads_are_named() -> None:
    read = ["TANDEMCAL_PORT", "tandemcal_port", "TANDEMCAL_AGENT_PORT", "TANDEMCAL_URL"]
    assert unknown_variables([*read, "PATH", "TANDEMCALL"]) == []
    agents, strange = unknown_variables(["TANDEMCAL_AGENT_NAMES", "TANDEMCAL_XYZ"])
    assert agents.endswith("did you mean TANDEMCAL_AGENT_NAME?")
    assert strange.endswith("so it has no effect.")


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize(
    ("setting", "other"),
    [("TANDEMCAL_PORT", "TANDEMCAL_METRICS_PORT"), ("TANDEMCAL_METRICS_PORT", "--port")],
)
@pytest.mark.parametrize("command", ["up", "api"])
def test_a_taken_port_says_which_setting_names_it(
    command: str, setting: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEMCAL_PORT", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv(setting, port)
        refused([command], setting)
        said = run([command]).output
    assert f"port {port}" in said
    assert other not in said
