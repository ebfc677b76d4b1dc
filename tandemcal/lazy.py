"""Public names that are imported where they are first used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple


class Renamed(NamedTuple):
    """What replaces a deprecated name, and the version that removes it."""

    instead: str
    removed_in: str


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]], renamed: Mapping[str, Renamed]
) -> Callable[[str], object]:
    """Make the `__getattr__` of a package from the modules of its names and its renamed names.

    It raises AttributeError, and ModuleNotFoundError where a name needs a package that is missing.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> object:
        """Import the name from its module."""
        if name in renamed:
            from ltl_core.deprecation import warn_deprecated

            instead, removed_in = renamed[name]
            old, new = f"{package}.{name}", f"{package}.{instead}"
            warn_deprecated(old, instead=new, removed_in=removed_in)
            name = instead
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return _imported(f"{package}.{name}", homes[name])

    return get


def _imported(public: str, module: str) -> object:
    try:
        return getattr(import_module(module), public.rpartition(".")[2])
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{public} needs the package '{error.name}'; install it: pip install 'tandemcal[core]'",
            name=error.name,
        ) from error
