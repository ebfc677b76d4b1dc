"""The memory of a job's child process: bounded, so that a job cannot take the machine."""

import errno
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the process of a job has none
    from service.settings import Settings

_ALLOCATORS = ("DefaultCPUAllocator", "not enough memory", "out of memory")  # in torch's messages
_MOST = 0.8  # of the memory of the machine or the container, for all jobs together
_OOM_FIRST = "1000"  # whom the kernel kills first when memory runs out
_OOM_COUNTS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def available_bytes() -> int:
    """Return the memory of this machine, or of this container if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _CGROUP if path.is_file()]
    return min([machine, *(int(text) for text in limits if text.isdecimal())])


def limit_of(settings: "Settings") -> int:
    """Return what one of the jobs that run at the same time may take, bytes."""
    return settings.job_memory_bytes or int(_MOST * available_bytes() / settings.parallel_jobs)


def bound_memory(limit: int) -> None:
    """Let this process have `limit` bytes of its own: beyond it an allocation raises MemoryError.

    What it maps of files, such as libraries, does not count. If the kernel runs out of memory all
    the same, it ends this process before the service.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    score = Path("/proc/self/oom_score_adj")
    if score.is_file():
        score.write_text(_OOM_FIRST)


def is_shortage(error: BaseException) -> bool:
    """Tell whether an allocation failed. torch raises a RuntimeError of its own."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _ALLOCATORS)


def oom_kills() -> int:
    """Return how many processes the kernel has killed so far because memory ran out."""
    texts = [path.read_text() for path in _OOM_COUNTS if path.is_file()]
    lines = (line.split() for text in texts for line in text.splitlines())
    return sum(int(words[1]) for words in lines if words[:1] == ["oom_kill"])


def killed_sentence() -> str:
    """Return the reason of a job that the kernel killed because memory ran out."""
    return (
        "The machine ran out of memory, and its kernel ended the job: make its batch or its time "
        "window smaller, or set TANDEMCAL_JOB_MEMORY_BYTES lower, so that jobs end before that."
    )


def shortage_sentence(limit: int) -> str:
    """Return the reason of a job that needed more memory than it may have."""
    return (
        f"The job needs more than the {limit / 2**30:.1f} GiB of memory that it may have: make its "
        "batch or its time window smaller, or raise TANDEMCAL_JOB_MEMORY_BYTES."
    )
