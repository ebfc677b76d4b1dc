"""From settings to an agent: which chip, which address, which key."""

import fcntl
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chip_sim.errors import SpecFileError, UnknownPresetError
from service.bench.agent.folder_lock import AgentRunningError
from service.bench.agent.process import (
    AgentPortTakenError,
    JoinKeyError,
    open_local_chip,
    run_agent,
)
from service.bench.agent.settings import AgentSettings
from service.request_errors import DriverFailedError, UnknownChipBackendError


def settings(folder: Path, **given: Any) -> AgentSettings:
    return AgentSettings(data_dir=folder, **{"name": "bench-1", "port": 0, **given})


def test_a_chip_is_a_preset_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: pcm\ntiles: 3\n")
    assert open_local_chip(settings(tmp_path, chip="harsh")).info.model == "harsh"
    made = open_local_chip(settings(tmp_path, chip=str(path))).info
    assert (made.model, made.tiles) == ("mine", 3)


def test_another_driver_is_found_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownChipBackendError, match="silicon"):
        open_local_chip(settings(tmp_path, backend="silicon"))


def test_a_driver_that_cannot_open_its_chip_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "driver_of_an_agent.py"
    file.write_text("def make(chip_id, settings):\n    return open(settings['device'])\n")
    about = tmp_path / "driver_of_an_agent-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: driver-of-an-agent\nVersion: 1\n")
    points = "[tandemcal.chip_backends]\nof-an-agent = driver_of_an_agent:make\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    unplugged = {"device": str(tmp_path / "ttyUSB0")}
    with pytest.raises(DriverFailedError) as caught:
        open_local_chip(settings(tmp_path, backend="of-an-agent", backend_settings=unplugged))
    assert str(caught.value).startswith("The driver 'of-an-agent' failed: FileNotFoundError: ")
    assert f"(make, {file}, line 2)" in str(caught.value)


@pytest.mark.parametrize(
    ("chip", "error"), [("fluffy", UnknownPresetError), ("gone.yaml", OSError)]
)
def test_a_chip_that_does_not_exist_is_refused(
    tmp_path: Path, chip: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        open_local_chip(settings(tmp_path, chip=chip))


def test_a_file_that_is_no_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[]")
    with pytest.raises(SpecFileError):
        open_local_chip(settings(tmp_path, chip=str(path)))


def test_the_seed_belongs_to_the_name_unless_it_is_given(tmp_path: Path) -> None:
    one, again, other = (settings(tmp_path, name=name).chip_seed for name in ("a", "a", "b"))
    assert one == again != other
    assert settings(tmp_path, name="a", seed=7).chip_seed == 7


@pytest.mark.parametrize("name", ["a/b", "../../etc", ".."])
def test_a_name_never_leaves_the_data_directory(tmp_path: Path, name: str) -> None:
    assert settings(tmp_path, name=name).folder.resolve().parent == tmp_path


def test_workers_get_an_address_that_they_can_reach(tmp_path: Path) -> None:
    assert settings(tmp_path).url(80) == "http://127.0.0.1:80"
    assert settings(tmp_path, host="::1").url(80) == "http://[::1]:80"
    assert "0.0.0.0" not in settings(tmp_path, host="0.0.0.0").url(80)
    assert settings(tmp_path, advertise="https://lab/bench-1/").url(80) == "https://lab/bench-1"


def test_an_agent_needs_a_key_to_register(tmp_path: Path) -> None:
    joining = {"service": "http://127.0.0.1:1"}
    with pytest.raises(JoinKeyError, match="no join key"):
        run_agent(settings(tmp_path, **joining), Console(quiet=True))
    missing = tmp_path / "missing"
    with pytest.raises(JoinKeyError, match="missing"):
        run_agent(settings(tmp_path, join_key_file=missing, **joining), Console(quiet=True))
    assert "secret" not in repr(settings(tmp_path, join_key="secret"))


def test_two_agents_do_not_share_a_chip(tmp_path: Path) -> None:
    folder = settings(tmp_path).folder
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AgentRunningError, match="Another agent works in"):
            run_agent(settings(tmp_path), Console(quiet=True))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AgentPortTakenError, match=f"port {port}; give another --port"):
            run_agent(settings(tmp_path, port=port), Console(quiet=True))


def test_agents_keep_their_chips_in_the_users_data_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert AgentSettings(name="bench-1").folder == tmp_path / "tandemcal/agents/bench-1"
