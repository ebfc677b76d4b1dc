"""Version of this code, stored with every result of a job."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache  # a process goes on with the code that it has loaded
def code_version() -> str:
    """Return the installed version."""
    try:
        return version("tandemcal")
    except PackageNotFoundError:
        return "0+uninstalled"
