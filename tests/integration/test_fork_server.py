"""Where the children come from: it is there again after it was killed, and leaves no lock."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection

import psutil
import pytest
import torch

from service.jobs.attempts.fork_server import ForkServer


def fork_servers() -> list[int]:
    """Of this process."""
    children = psutil.Process(os.getpid()).children()
    return [child.pid for child in children if "forkserver" in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def without_server() -> None:
    """Stop what another test has left."""
    stop: Callable[[], None] = forkserver._forkserver._stop  # type: ignore[attr-defined]
    stop()


def add_with_two_threads(answer: Connection) -> None:
    torch.set_num_threads(2)
    answer.send_bytes(str(int((torch.ones(1_000_000) + 1).sum())).encode())


def test_a_child_computes_with_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as on a machine of two cores
    ForkServer(["chip_sim.chip"])  # which computes when it is loaded
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    child = context.Process(target=add_with_two_threads, args=(theirs,), daemon=True)
    child.start()
    try:
        assert ours.poll(60.0), "the child waits for threads that the fork server had"
        assert ours.recv_bytes() == b"2000000"
    finally:
        child.kill()


def test_a_fork_server_that_is_killed_while_it_loads_is_started_again() -> None:
    server = ForkServer()
    server.warm_up()
    (first,) = fork_servers()
    time.sleep(0.3)  # it has been asked for a child, and loads torch
    os.kill(first, signal.SIGKILL)
    assert server.is_warm(120.0)
    assert first not in fork_servers()
