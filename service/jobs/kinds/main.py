"""The child process of one job: torch never blocks the API, and a crash ends one job alone."""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from pydantic import ValidationError

from ltl_core.errors import CalibrationError, ChipUnavailableError
from service.artifacts import ArtifactStore
from service.bench.driver_lines import described, driver_line
from service.bench.drivers import find_driver, is_driver
from service.jobs.kinds.context import CancelledWorkError, JobContext
from service.jobs.kinds.memory import bound_memory, is_shortage, shortage_sentence
from service.jobs.messages import (
    AgentFound,
    AgentSought,
    Cancel,
    Ended,
    ForChild,
    ForParent,
    JobDescription,
    Json,
    Lease,
    Pause,
    read_for_child,
)
from service.request_errors import UnknownChipBackendError
from service.shortage import ShortageError, lack_of
from service.states import JobStatus

_NICENESS = 5  # the API answers first
_PR_SET_PDEATHSIG = 1
_SEEK_PAUSE = 1.0  # s between two questions to the parent
_FIRST_LEASE = 3.0  # s that the lease is trusted before the parent has sent its end


def main(connection: Connection) -> None:
    """Do one job and send the parent how it ended; end with the parent.

    Raises TypeError where the first message is no description.
    """
    _live_and_die_with_parent()
    description = read_for_child(connection.recv_bytes())
    if not isinstance(description, JobDescription):
        raise TypeError(f"A job starts with its description, not with {description.type}.")
    config = description.config
    torch.set_num_threads(config.threads)
    if config.memory_bytes is not None:
        bound_memory(config.memory_bytes)
    link = ParentLink(connection)
    artifacts = ArtifactStore(Path(config.artifacts_dir), config.patience_s)
    link.send(do_job(JobContext(artifacts, link, description)))


def do_job(context: JobContext) -> Ended:
    """Do the work of the job's kind; whatever happens becomes the job's last message."""
    try:
        work = resolve_name(context.description.work)
        with torch.no_grad():
            ended: Ended = work(context)
    except CancelledWorkError as cancelled:
        ended = cancelled.ended
    except ChipUnavailableError as error:
        place = _raised_in(context, error)
        ended = _failed(error, f"{error} {place}" if place else str(error))
    except CalibrationError as error:
        ended = _failed(error, str(error))
    except ValidationError as error:
        place = _raised_in(context, error)
        ended = _failed(error, _in_driver(error, place) if place else _unreadable(error))
    except Exception as error:  # told to the reader of the job: it is the end of this process
        ended = _unexpected(context, error)
    context.flush()
    return ended


def _unexpected(context: JobContext, error: Exception) -> Ended:
    """Say that memory ran out; log any other error, a fault of the chip's driver or of ours."""
    limit = context.description.config.memory_bytes
    if limit is not None and is_shortage(error):
        return _failed(error, shortage_sentence(limit))
    place = _raised_in(context, error)
    if place is None and (lack := lack_of(error)) is not None:
        short = ShortageError(lack)
        return _failed(short, str(short))
    context.log("".join(traceback.format_exception(error)))
    if place is not None:
        return _failed(error, _in_driver(error, place))
    return _failed(error, f"An error inside Tandemcal ended the job: {error!r}")


def _raised_in(context: JobContext, error: Exception) -> str | None:
    """Return a sentence that names the chip's driver and its line; None if it did not raise."""
    chip, backends = context.description.chip, context.description.config.chip_backends
    if chip is None or not is_driver(chip.backend):
        return None
    try:
        driver = find_driver(chip.backend, backends)
    except UnknownChipBackendError:  # it is not installed here: it raised nothing
        return None
    line = driver_line(error, driver.module)
    return None if line is None else f"Raised in the driver '{driver.name}': {line}."


def _in_driver(error: Exception, place: str) -> str:
    return f"{described(error)}. {place}"


def _unreadable(error: ValidationError) -> str:
    return f"The job's settings cannot be read: {_first(error)}"


def _failed(error: Exception, reason: str) -> Ended:
    return Ended(status=JobStatus.FAILED, reason=reason, error=type(error).__name__)


def _first(error: ValidationError) -> str:
    details: Any = error.errors()[0]
    return f"{'.'.join(map(str, details['loc']))}: {details['msg']}"


class ParentLink:
    """The connection to the parent. A thread reads it; when it breaks, the process ends at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._cancelled = threading.Event()
        self._pausing = threading.Event()
        self._lease_until = time.monotonic() + _FIRST_LEASE
        self._agent: Json | None = None
        self._next_question = 0.0
        threading.Thread(target=self._listen, name="parent-link", daemon=True).start()

    def send(self, message: ForParent) -> None:
        """Send a message; threads may do so at once."""
        with self._sending:
            self._connection.send_bytes(message.model_dump_json().encode())

    def cancelled(self) -> bool:
        """Return whether the job is to stop."""
        return self._cancelled.is_set()

    def pausing(self) -> bool:
        """Return whether a checkpoint is wanted after this step."""
        return self._pausing.is_set()

    def lease_held(self) -> bool:
        """Return whether the lease, as the parent last sent it, has not run out."""
        return time.monotonic() < self._lease_until

    def agent_settings(self) -> Json | None:
        """Return where the parent last found the chip's agent, and ask again once a second."""
        if time.monotonic() >= self._next_question:
            self._next_question = time.monotonic() + _SEEK_PAUSE
            self.send(AgentSought())
        return self._agent

    def _listen(self) -> None:
        try:
            while True:
                self._take(read_for_child(self._connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(1)  # an orphan must not write, nor drive a chip

    def _take(self, message: ForChild) -> None:
        if isinstance(message, Cancel):
            self._cancelled.set()
        elif isinstance(message, Pause):
            self._pausing.set()
        elif isinstance(message, Lease):
            self._lease_until = message.until_s
        elif isinstance(message, AgentFound):
            self._agent = message.settings


def _live_and_die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.nice(_NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
