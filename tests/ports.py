"""Ports for servers that are to keep theirs while they are dead for a while."""

import random
import socket
from collections.abc import Iterator

_PORTS = range(20_000, 32_768)  # below those that Linux gives to whoever asks for any


def free_ports() -> Iterator[int]:
    """Each once, in no order."""
    return filter(_is_free, random.sample(_PORTS, len(_PORTS)))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
