"""A fork that waits until its parent needs a fork server for jobs, and becomes it.

The standard library starts a fork server as a fresh Python, which loads torch for seconds. Here
the same code runs in a process that has loaded it. It is forked while its parent has one thread,
and is its child, as the fork server would be.
"""

import fcntl
import json
import os
import signal
import socket
from collections.abc import Sequence
from multiprocessing import util

_SERVER = "from multiprocessing.forkserver import main"
_ABOVE = 512  # descriptors are kept here until they get their numbers


def keep_spare() -> None:
    """Let the next fork server of this process be such a fork; later ones start as usual."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _wait(theirs)
    theirs.close()
    start_python = util.spawnv_passfds

    def start(path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
        code = arguments[-1]
        if ours.fileno() < 0 or not code.startswith(_SERVER):
            return start_python(path, arguments, descriptors)
        with ours:
            message = json.dumps([code, list(descriptors)]).encode()
            socket.send_fds(ours, [message], descriptors)
        return pid

    util.spawnv_passfds = start  # type: ignore[assignment]


def _wait(parent: socket.socket) -> None:
    """For the code of the fork server; a parent that ends without one needs none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    message, received, _, _ = socket.recv_fds(parent, 1 << 16, 8)
    parent.close()
    if message:
        code, numbers = json.loads(message)
        kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _ABOVE) for descriptor in received]
        for descriptor, number in zip(kept, numbers, strict=True):
            os.dup2(descriptor, number)
        for descriptor in {*kept, *received} - set(numbers):
            os.close(descriptor)
        try:
            exec(code, {})
        except SystemExit:
            os._exit(0)
    os._exit(0)
