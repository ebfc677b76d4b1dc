"""Names of executors, the processes that run jobs."""

import platform


def machine_name() -> str:
    """Return the name of the first executor on this machine, where none is set."""
    return platform.node() or "worker"
