"""Warns of what is going to be removed from the public interface."""

import warnings


def warn_deprecated(old: str, *, instead: str, removed_in: str, stacklevel: int = 2) -> None:
    """Raise a DeprecationWarning that names the replacement and the version of the removal.

    A `stacklevel` of 2 points at the caller of the function that calls this one.
    """
    warnings.warn(
        f"{old} is deprecated and will be removed in Tandemcal {removed_in}; use {instead}.",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
