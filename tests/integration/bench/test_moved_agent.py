"""An agent that comes back at another address is found there, in the middle of a call."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from service.bench.driver.http_chip import open_http_chip
from service.errors import AgentUnreachableError
from tests.agents import serve_agent


def test_a_driver_follows_its_agent_to_another_address(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    back, done = threading.Event(), threading.Event()

    def come_back() -> None:
        time.sleep(0.6)  # longer than an answer may take: nobody is asked meanwhile
        with serve_agent(tmp_path, reach_s=5.0, answer_s=0.4) as agent:
            found.append(agent.address.model_dump())
            back.set()
            done.wait(20.0)

    with serve_agent(tmp_path, reach_s=5.0, answer_s=0.4) as agent:
        chip = open_http_chip("bench-1", agent.address, 1, lambda: found[-1] if found else None)
        chip.settle(100.0)
    other = threading.Thread(target=come_back)
    other.start()
    assert chip.now() == 100.0
    assert back.is_set()
    chip.close()
    done.set()
    other.join()


def test_another_agent_at_its_old_address_is_not_taken_for_it(tmp_path: Path) -> None:
    """Addresses of containers are given out again."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with serve_agent(tmp_path / "a") as own, serve_agent(tmp_path / "b") as other:
        moved = own.address.model_copy(update={"url": other.address.url, "reach_s": 0.3})
        for signed in (False, True):
            address = moved.model_copy(update={"signed": signed})
            with pytest.raises(AgentUnreachableError, match="status 401"):
                open_http_chip("bench-1", address, 1)
            right = own.address.model_copy(update={"signed": signed}).model_dump()
            chip = open_http_chip("bench-1", address, 1, lambda right=right: right)  # type: ignore[misc]
            assert chip.now() == 0.0
            chip.close()
