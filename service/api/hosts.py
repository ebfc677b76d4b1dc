"""Which host names this service answers for: a page of another name must not reach it.

A browser that is led to `evil.example` can be made to resolve that name to the service's address
(DNS rebinding). The name in the header `Host` tells.
"""

import ipaddress
import socket
from collections.abc import Iterable

from service.request_errors import WrongHostError


class ServedHosts:
    """The names of the service; IP addresses are always accepted, for no name leads to them."""

    def __init__(self, names: Iterable[str]) -> None:
        """Accept `names`, this machine's own, also as `NAME.local`, and localhost.

        A domain name has to be among `names`: to ask the resolver for it can take many seconds.
        """
        machine = socket.gethostname()
        own = ("localhost", machine, f"{machine}.local")
        self._names = frozenset(name.lower().rstrip(".") for name in (*own, *names))

    def check(self, header: str) -> None:
        """Check a `Host` header. Raises WrongHostError."""
        name = _without_port(header).lower().rstrip(".")
        if name not in self._names and not _is_address(name):
            raise WrongHostError(name)


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header.partition("]")[0][1:]
    return header.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
