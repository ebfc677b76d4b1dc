"""What goes wrong between an agent and its driver on the way, whatever they say."""


class BrokenConnectionError(Exception):
    """An answer did not arrive whole: the connection broke, or a checksum is wrong."""
