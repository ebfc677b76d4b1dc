"""Machine on which a measurement was made, for the file that keeps it."""

import datetime
import os
import platform
import shlex
import sys
from pathlib import Path

import torch


def machine() -> dict[str, object]:
    """Processor, cores, threads, versions and the load when it began."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def about(module: str) -> dict[str, object]:
    """Command, date and machine."""
    command = " ".join(["python", "-m", module, *map(shlex.quote, sys.argv[1:])])
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"command": command, "date": date, "machine": machine()}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
