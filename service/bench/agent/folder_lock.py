"""Which chip an agent serves: the one of its name, or the next that nobody serves yet.

Many agents can be started with the same settings, as `docker compose up --scale chip=32` does: a
name with `{n}` stands for chip 1, 2, 3 and so on, and an agent takes the first whose folder is
free. A chip that was left keeps its folder, so the next agent goes on with it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from service.bench.agent.settings import AgentSettings
from service.errors import ServiceError

NUMBER = "{n}"
_SEPARATOR = ","


class AgentRunningError(ServiceError):
    """Two agents would drive the same chip."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"Another agent works in {folder}; stop it, or give this one another --name."
        )


@contextmanager
def locked_folder(settings: AgentSettings) -> Iterator[AgentSettings]:
    """The settings of one chip, which is this process's until the block ends.

    Raises AgentRunningError.
    """
    with ExitStack() as stack:
        if NUMBER not in settings.name:
            stack.enter_context(_exclusive_lock(settings.folder))
            yield settings
            return
        yield next(one for n in count(1) if (one := _try_lock(numbered(settings, n), stack)))


def numbered(settings: AgentSettings, n: int) -> AgentSettings:
    """The n-th chip; of several kinds, separated by commas, each in turn."""
    kinds = settings.chip.split(_SEPARATOR)
    name = settings.name.replace(NUMBER, str(n))
    return settings.model_copy(update={"name": name, "chip": kinds[(n - 1) % len(kinds)].strip()})


def _try_lock(settings: AgentSettings, stack: ExitStack) -> AgentSettings | None:
    try:
        stack.enter_context(_exclusive_lock(settings.folder))
    except AgentRunningError:
        return None
    return settings


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """The kernel frees the lock when the process is gone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentRunningError(folder) from None
        yield
