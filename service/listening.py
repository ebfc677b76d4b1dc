"""Listening sockets of the service and its agents, and what lets their servers answer in time."""

import gc
import socket

# s that an idle connection stays open: longer than clients (5 s is usual) and proxies (60 s) keep
# one, which would else send a request while it is being closed; and longer than a step of learning.
KEEP_ALIVE = 75
SHUTDOWN_GRACE = 5  # s that open requests, such as event streams, have to finish at shutdown
# Longest time that one thread keeps the interpreter while another waits. The queue's polls are pure
# Python, and with the default of 5 ms a request behind one of them waits as long at each hand-over.
SWITCH_INTERVAL = 0.0005  # s


class PortTakenError(Exception):
    """Another process listens on this port, or the address cannot be used."""

    def __init__(self, host: str, port: int, reason: str, advice: str) -> None:
        """`advice` is a sentence that says how to choose another port."""
        super().__init__(f"Cannot listen on {host}, port {port} ({reason}). {advice}")


def listen(
    host: str, port: int, advice: str = "Choose another port, or 0 for any."
) -> socket.socket:
    """Bind a socket before anything else starts, so that the port is ours.

    Raises PortTakenError with the `advice`, a sentence that says how to choose another port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends without delay only on sockets that name it:
    # with the 0 of the default, each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTakenError(host, port, error.strerror or str(error), advice) from error
    return listener


def spare_startup_objects() -> None:
    """Keep what exists by now out of every later collection of garbage.

    Modules and routes are 270,000 objects. A full collection that visits them stops all threads for
    150 ms, and many connections in a short time bring one about.
    """
    gc.collect()
    gc.freeze()
