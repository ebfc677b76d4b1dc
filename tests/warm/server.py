"""The warm server: loads the program once, and forks a `tandemcal` process for every request.

Started by `tests.warm.client`. What it forks are processes like any other: tests kill, freeze and
wait for them. They only skip the seconds in which Python, torch and the service are loaded.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import NamedTuple

import torch

from tests.warm.spare import keep_spare

COMMAND = "service.cli"  # `python -m service.cli` is the `tandemcal` command
_PACKAGES = ("ltl_core", "chip_sim", "service")
_LOADED_LATE = (  # by name, when a command or its first job begins
    "torch._dynamo",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "alembic.command",
    "tests.integration.traced_chip",
)
_LONGEST = 1 << 17  # bytes of a request


class Request(NamedTuple):
    """One command, as it would be given to a shell."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    output: int  # a file for standard output and standard error
    status: int  # a socket that is told the process's id, and at its end the exit code


def main(requests: socket.socket) -> None:
    """Fork until nobody can ask any more. Returns in the server, and in each of its forks."""
    load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the keyboard: whoever asked ends the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the watchers
    while (request := receive(requests)) is not None:
        if os.fork() == 0:
            requests.close()
            watch(request)
            return
        os.close(request.output)
        os.close(request.status)


def load() -> None:
    """Import all modules of the program, and what it imports late."""
    for package in map(importlib.import_module, _PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                with suppress(ModuleNotFoundError):  # of an extra that is not installed
                    importlib.import_module(module.name)
    for name in _LOADED_LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"


def receive(requests: socket.socket) -> Request | None:
    """The next request, or None where there will be no more."""
    message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 2)
    return Request(*json.loads(message), *descriptors) if message else None


def watch(request: Request) -> None:
    """Run the command in a fork, and say how it ended. Returns in that fork alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(request.status)
        run(request)
        return
    os.close(request.output)
    with socket.socket(fileno=request.status) as status, suppress(BrokenPipeError):
        status.sendall(str(pid).encode())
        _, code = os.waitpid(pid, 0)
        status.sendall(str(os.waitstatus_to_exitcode(code)).encode())
    os._exit(0)


def run(request: Request) -> None:
    """What `python -m` does, in this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard in (1, 2):
        os.dup2(request.output, standard)
    os.close(request.output)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = ["tandemcal", *request.words]
    keep_spare()
    if threads := os.environ.get("OMP_NUM_THREADS"):  # was read when torch was loaded
        torch.set_num_threads(int(threads))
    runpy.run_module(COMMAND, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
