"""The error of a benchmark whose data are not there."""


class MissingDataError(Exception):
    """A data set, or the program that makes it, is not on this machine."""
