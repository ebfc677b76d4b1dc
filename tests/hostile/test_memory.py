"""A job that needs more memory than the machine has for it."""

import subprocess
import sys

import pytest

from service.jobs.kinds.memory import available_bytes, default_limit, is_shortage

GIB = 2**30
# torch's allocation, in a process of its own: a limit cannot be raised again.
ALLOCATES = """
import sys, torch
from service.jobs.kinds.memory import bound_memory, is_shortage
if sys.argv[1] != "none":
    bound_memory(int(sys.argv[1]))
try:
    torch.empty(int(sys.argv[2]), dtype=torch.uint8)
    print("allocated")
except Exception as error:
    print("short" if is_shortage(error) else repr(error))
"""


def allocate(limit: int | None, size: int) -> str:
    words = [sys.executable, "-c", ALLOCATES, str(limit or "none"), str(size)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_job_gets_what_it_may_have_and_no_more() -> None:
    assert allocate(2 * GIB, GIB // 2) == "allocated"
    assert allocate(2 * GIB, 3 * GIB) == "short"
    assert allocate(None, 3 * GIB) == "allocated"


def test_jobs_together_do_not_get_all_of_the_machine() -> None:
    assert 4 * default_limit(4) < available_bytes()


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("size mismatch"), OSError(28)])
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not is_shortage(error)
