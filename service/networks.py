"""Which addresses of agents this service may call: checked after the name was resolved.

An agent names the URL at which it is called. Without a check it could make the service send
requests to any machine that the service reaches, such as the one that gives a cloud's secrets.
"""

import ipaddress
import socket
from collections.abc import Sequence

PRIVATE = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)
PORT_MIN = 1024  # below are services of the system; 80 and 443 are those of a proxy
_PROXY_PORTS = frozenset({80, 443})
# Never called, whatever the networks say: where clouds answer with secrets.
_METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254")))

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddressError(Exception):
    """An address that this service does not call."""


class AgentNetworks:
    """The networks in which agents may live, or the receivers of webhooks."""

    def __init__(
        self, networks: Sequence[str], own_port: int | None = None, whose: str = "agent"
    ) -> None:
        """`own_port` is the port of this service, on addresses of this machine.

        `whose` is "agent" or "webhook", for messages.

        Raises ValueError for text that names no network.
        """
        self._networks = [ipaddress.ip_network(text) for text in networks]
        self._own_port = own_port
        self._whose = whose

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, all of which may be called.

        The caller connects to what is returned, because a name may lead elsewhere the next time.
        Raises ForbiddenAddressError, and OSError if the name cannot be resolved.
        """
        if port < PORT_MIN and port not in _PROXY_PORTS:
            raise ForbiddenAddressError(f"port {port} is below {PORT_MIN}")
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            self._check(_parsed(address), port)
        return addresses

    def _check(self, address: _Address, port: int) -> None:
        if address in _METADATA or address.is_link_local or address.is_multicast:
            raise ForbiddenAddressError(f"{address} is no address of an agent")
        if address.is_unspecified or (address.is_reserved and not address.is_loopback):
            raise ForbiddenAddressError(f"{address} is no address of an agent")
        if port == self._own_port and _is_of_this_machine(address):
            raise ForbiddenAddressError(f"{address}, port {port}, is this service itself")
        if not any(address in network for network in self._networks):
            allowed = ", ".join(map(str, self._networks)) or "none"
            raise ForbiddenAddressError(
                f"{address} is in none of the networks of {self._whose}s ({allowed}); the setting "
                f"is TANDEMCAL_{self._whose.upper()}_NETWORKS"
            )


def _parsed(text: str) -> _Address:
    """Return an address; one of IPv4 inside IPv6 counts as what it leads to."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_of_this_machine(address: _Address) -> bool:
    """Tell whether a socket can be bound to the address."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
