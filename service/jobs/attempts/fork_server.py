"""Children are forked from a process that has loaded torch and runs nothing."""

import multiprocessing
import threading
import time
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from service.jobs.messages import (
    Cancel,
    Checkpointed,
    Ended,
    JobDescription,
    Lease,
    Logged,
    Pause,
    Progressed,
    read_for_parent,
)
from service.logs import warn_in_a_line

# torch's optimisers load the second one at their first step: 2 s of work, here done once.
_PRELOADED = ["service.jobs.kinds.main", "torch._dynamo"]
_EXIT_TIME = 5.0  # s for a child to end after its last message
_PAUSE = 1.0  # s before a fork server that died is started again


class ChildProcess:
    """One child: what it says, and its end."""

    def __init__(self, process: ForkServerProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self._gone = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def listen(self, seconds: float) -> Progressed | Logged | Checkpointed | Ended | None:
        """The next message, or None after so long. Raises EOFError when the child is gone."""
        try:
            if not self._connection.poll(seconds):
                return None
            return read_for_parent(self._connection.recv_bytes())
        except ConnectionResetError as error:
            raise EOFError from error

    def tell(self, message: JobDescription | Lease | Cancel | Pause) -> None:
        """Send. A child that is gone hears nothing; `listen` notices."""
        try:
            self._connection.send_bytes(message.model_dump_json().encode())
        except (BrokenPipeError, ConnectionResetError):
            return

    def how_it_died(self) -> str:
        """The exit code or the signal, in words."""
        self._process.join(_EXIT_TIME)
        code = self._process.exitcode
        if code is None:
            return "it closed its line"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def finish(self, patience: float = _EXIT_TIME) -> None:
        """Wait for its end for so long, then kill it. Afterwards it is gone for certain."""
        if self._gone:
            return
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._connection.close()
        self._process.close()
        self._gone = True


class ForkServer:
    """Starts children."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._warm = threading.Event()

    def warm_up(self) -> None:
        """Have the server load torch before the first job comes; returns at once."""
        forkserver.ensure_running()
        threading.Thread(target=self._try_out, name="fork-server", daemon=True).start()

    def is_warm(self, patience: float) -> bool:
        """Wait for so long; a job that holds its chip must not wait for torch."""
        return self._warm.wait(patience)

    def _try_out(self) -> None:
        """Again where the server was killed meanwhile: no job starts before it is warm."""
        while not self._warm.is_set():
            try:
                process = self._context.Process(target=_do_nothing, daemon=True)
                process.start()
                process.join()
                self._warm.set()
            except (EOFError, OSError) as error:
                warn_in_a_line(__name__, "the fork server died while it loaded", error)
                time.sleep(_PAUSE)

    def start(self, description: JobDescription) -> ChildProcess:
        """A child that does this job."""
        ours, theirs = self._context.Pipe(duplex=True)
        process = self._context.Process(target=run_child, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        child = ChildProcess(process, ours)
        child.tell(description)
        return child


def _do_nothing() -> None:
    pass


def run_child(connection: Connection) -> None:
    """The child's first function. It loads torch here, so that the parent need not."""
    from service.jobs.kinds.main import main

    main(connection)
