"""Where the children come from is there again after it was killed."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import forkserver

import psutil

from service.jobs.attempts.fork_server import ForkServer


def fork_servers() -> list[int]:
    """Of this process."""
    children = psutil.Process(os.getpid()).children()
    return [child.pid for child in children if "forkserver" in " ".join(child.cmdline())]


def test_a_fork_server_that_is_killed_while_it_loads_is_started_again() -> None:
    stop: Callable[[], None] = forkserver._forkserver._stop  # type: ignore[attr-defined]
    stop()  # whatever another test has left
    server = ForkServer()
    server.warm_up()
    (first,) = fork_servers()
    time.sleep(0.3)  # it has been asked for a child, and loads torch
    os.kill(first, signal.SIGKILL)
    assert server.is_warm(120.0)
    assert first not in fork_servers()
