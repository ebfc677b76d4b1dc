"""Agents that were started alike each serve a chip of their own."""

from pathlib import Path

import pytest

from service.bench.agent.folder_lock import AgentRunningError, locked_folder
from service.bench.agent.settings import AgentSettings


def test_agents_started_alike_take_the_next_chip_and_its_kind(tmp_path: Path) -> None:
    alike = AgentSettings(name="chip-{n}", chip="pcm, harsh", data_dir=tmp_path)
    with locked_folder(alike) as first, locked_folder(alike) as second:
        assert [first.name, second.name] == ["chip-1", "chip-2"]
        assert [first.chip, second.chip] == ["pcm", "harsh"]
        assert first.chip_seed != second.chip_seed
        with locked_folder(alike) as third:
            assert (third.name, third.chip) == ("chip-3", "pcm")


def test_a_chip_that_was_left_is_taken_up_again(tmp_path: Path) -> None:
    alike = AgentSettings(name="chip-{n}", data_dir=tmp_path)
    with locked_folder(alike) as first:
        seed = first.chip_seed
    with locked_folder(alike) as again:
        assert (again.name, again.chip_seed) == ("chip-1", seed)


def test_one_chip_has_one_agent(tmp_path: Path) -> None:
    named = AgentSettings(name="bench-3", data_dir=tmp_path)
    with (
        locked_folder(named),
        pytest.raises(AgentRunningError, match="bench-3"),
        locked_folder(named),
    ):
        pass
