"""Which code this is: it stands beside everything a job makes."""

from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """The installed version."""
    try:
        return version("tandemcal")
    except PackageNotFoundError:
        return "0+uninstalled"
