"""The lock on a chip's folder: an agent serves the chip of its name, or the next free one.

Many agents can be started with the same settings, as `docker compose up --scale chip=32` does. A
name with `{n}` stands for chip 1, 2, 3 and so on, and an agent takes the first whose folder is not
locked. The folder of a chip stays when its agent ends, so the next agent continues with that chip.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from service.bench.agent.settings import AgentSettings
from service.errors import ServiceError

NUMBER = "{n}"
_SEPARATOR = ","


class AgentRunningError(ServiceError):
    """Another agent holds the lock on this chip's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"Another agent works in {folder}; stop it, or give this one another --name."
        )


@contextmanager
def locked_folder(settings: AgentSettings) -> Iterator[AgentSettings]:
    """Lock the folder of one chip until the block ends; yield the settings of that chip.

    Raises AgentRunningError if the chip is named and another agent serves it.
    """
    with ExitStack() as stack:
        if NUMBER not in settings.name:
            stack.enter_context(_exclusive_lock(settings.folder))
            yield settings
        else:
            yield _lock_first_free(settings, stack)


def _lock_first_free(settings: AgentSettings, stack: ExitStack) -> AgentSettings:
    numbers = count(1)
    while True:
        numbered = _numbered(settings, next(numbers))
        with suppress(AgentRunningError):
            stack.enter_context(_exclusive_lock(numbered.folder))
            return numbered


def _numbered(settings: AgentSettings, n: int) -> AgentSettings:
    """Return the settings of chip `n`; kinds of chips, separated by commas, take turns."""
    kinds = settings.chip.split(_SEPARATOR)
    name = settings.name.replace(NUMBER, str(n))
    return settings.model_copy(update={"name": name, "chip": kinds[(n - 1) % len(kinds)].strip()})


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentRunningError(folder) from None
        yield
