"""The fork server: child processes are forked from a process that has loaded torch and waits."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from service.jobs.messages import ForChild, ForParent, JobDescription, read_for_parent
from service.logs import warn_in_a_line
from service.shortage import ShortageError, lack_of

# The first one comes before all that computes when it is loaded. torch's optimisers load the last
# one at their first step: 2 s of work, here done once.
_PRELOADED = ["service.jobs.kinds.one_thread", "service.jobs.kinds.main", "torch._dynamo"]
_EXIT_TIME = 5.0  # s for a child to end after its last message
_PAUSE = 1.0  # s before a fork server that died is started again


class ChildProcess:
    """One child process: its messages and its end."""

    def __init__(self, process: ForkServerProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self._gone = False

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    def receive(self, timeout: float) -> ForParent | None:
        """Return the next message; None after `timeout` seconds without one.

        Raises EOFError when the child is gone.
        """
        try:
            if not self._connection.poll(timeout):
                return None
            return read_for_parent(self._connection.recv_bytes())
        except ConnectionResetError as error:
            raise EOFError from error

    def send(self, message: ForChild) -> None:
        """Send a message. A child that is gone gets nothing; `receive` notices that."""
        try:
            self._connection.send_bytes(message.model_dump_json().encode())
        except (BrokenPipeError, ConnectionResetError):
            return

    def how_it_died(self) -> str:
        """Name the exit code or the signal that ended the child."""
        self._process.join(_EXIT_TIME)
        code = self._process.exitcode
        if code is None:
            return "it closed its connection"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended the child; False while it lives."""
        return self._process.exitcode == -signal.SIGKILL

    def finish(self, timeout: float = _EXIT_TIME) -> None:
        """Wait `timeout` seconds for the child's end, then kill it. Afterwards it is gone."""
        if self._gone:
            return
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._connection.close()
        self._process.close()
        self._gone = True


class ForkServer:
    """Starts the child processes of one executor."""

    def __init__(self, loads: Sequence[str] = ()) -> None:
        """`loads` are the modules that jobs need beside torch."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOADED, *loads])
        self._warm = threading.Event()

    def warm_up(self) -> None:
        """Make the server load torch before the first job comes; return at once."""
        forkserver.ensure_running()
        threading.Thread(target=self._start_until_warm, name="fork-server", daemon=True).start()

    def is_warm(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for torch; a job that holds its chip must not do so."""
        return self._warm.wait(timeout)

    def _start_until_warm(self) -> None:
        """Start the fork server, again if it was killed. No job starts before this succeeded."""
        while not self._warm.is_set():
            try:
                process = self._context.Process(target=_do_nothing, daemon=True)
                process.start()
                process.join()
                self._warm.set()
            except (EOFError, OSError) as error:
                event = "fork server: it died while it loaded torch, it is started again"
                warn_in_a_line(__name__, event, error)
                time.sleep(_PAUSE)

    def start(self, description: JobDescription) -> ChildProcess:
        """Start a child that does this job. Raises ShortageError where the service cannot."""
        try:
            child = self._start()
        except (OSError, EOFError) as error:  # a fork server that cannot fork ends
            raise ShortageError(lack_of(error) or "a fork server") from error
        child.send(description)
        return child

    def _start(self) -> ChildProcess:
        ours, theirs = self._context.Pipe(duplex=True)
        try:
            process = self._context.Process(target=run_child, args=(theirs,), daemon=True)
            process.start()
        except (OSError, EOFError):
            ours.close()
            raise
        finally:
            theirs.close()
        return ChildProcess(process, ours)


def _do_nothing() -> None:
    pass


def run_child(connection: Connection) -> None:
    """Run a job in the child process. It loads torch here, so that the parent need not."""
    from service.jobs.kinds.main import main

    main(connection)
