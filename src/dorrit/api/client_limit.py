"""A limit of connections for each client, by the address that a trusted header gives."""

import ipaddress
import logging
from collections import Counter

from dorrit.engine import Connection
from dorrit.protocol.refusal import TOO_MANY_OF_CLIENT, Refusal, refusal

logger: logging.Logger = logging.getLogger("dorrit")

IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: who has one address has 2^64 of them (RFC 6177)."""


class ClientLimit:
    """Counts the connections of each client."""

    def __init__(self, most: int) -> None:
        """Take the number of connections that one client may have; 0: any."""
        self._most = most
        self._counts: Counter[str] = Counter()
        self._networks: dict[Connection, str] = {}
        self._has_warned = False

    def enter(self, conn: Connection, address: str | None) -> Refusal | None:
        """Count a connection, or return why it is refused.

        Args:
            conn: The connection. `ended` is called when it ends.
            address: Of its client. If that is not known, it is not counted.
        """
        network = self._network_of(address)
        if network is None:
            return None
        if self._counts[network] >= self._most:
            return refusal(*TOO_MANY_OF_CLIENT)
        self._count(conn, network)
        return None

    def stay(self, conn: Connection, address: str | None) -> None:
        """Count a connection that stays, whatever the limit is; see `enter`."""
        network = self._network_of(address)
        if network is not None:
            self._count(conn, network)

    def _network_of(self, address: str | None) -> str | None:
        """Return what a client is counted as; None if it is not."""
        if self._most == 0:
            return None
        if address is None:
            self._warn()
            return None
        return network_of(address)

    def _count(self, conn: Connection, network: str) -> None:
        self._counts[network] += 1
        self._networks[conn] = network

    def _warn(self) -> None:
        """Say once that there is no limit for clients whose address nobody tells."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "--max-per-client does not hold for a client whose address is not known: the "
                "header of --trust has none, and the web server must set it"
            )

    def ended(self, conn: Connection) -> None:
        """Count a connection no longer. Does nothing for one that is not counted."""
        network = self._networks.pop(conn, None)
        if network is not None:
            self._counts[network] -= 1
            if self._counts[network] == 0:
                del self._counts[network]


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or a network of IPv6.

    Args:
        address: In its usual form.
    """
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
