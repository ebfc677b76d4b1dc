"""Version of this code, stored with every result of a job."""

from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """Return the installed version."""
    try:
        return version("tandemcal")
    except PackageNotFoundError:
        return "0+uninstalled"
