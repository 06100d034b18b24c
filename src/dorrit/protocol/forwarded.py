"""The client's address, as the web server in front tells it.

Everything in these headers but what our own web server has put there is the client's claim. So one
header is trusted at most, and only the end of it that the web server has written.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

TRUSTABLE: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
"""The headers of which one can be trusted."""

# RFC 7239 section 6: node-port = port / obfport, where port = 1*5DIGIT and obfport = "_" 1*(ALPHA /
# DIGIT / "." / "_" / "-"). It says nothing about the address, which counts.
_PORT: Final = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._\-]++")
# RFC 7239 section 4: forwarded-pair = token "=" value, where value = token / quoted-string. A web
# server that writes IPv6 addresses without quotes exists, so a bare value may be more than a token.
_PAIR: Final = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]++)=(?:"((?:[^"\\]|\\.)*+)"|([^",;\s]++)))?+[ \t]*+"""
)


def client_address(values: Sequence[str], header: str) -> str | None:
    """Return the address that a header gives, in its usual form; None if it gives none.

    Args:
        values: The values of all its field lines, in order.
        header: One of `TRUSTABLE`, in any case of letters.
    """
    name = header.lower()
    if not values:
        return None
    if name == "x-forwarded-for":
        # Each proxy puts the address that it sees behind those that it was sent: the right-hand end
        # is our web server's, what stands before it may be invented. So an empty end, which RFC
        # 9110 section 5.6.1.2 would have us pass over, is not passed over.
        return _address(values[-1].rpartition(",")[2])
    if name == "x-real-ip":
        # A web server sets it, where it adds to the others. Two lines: one is not the web server's.
        return _address(values[0]) if len(values) == 1 else None
    return _address(_last_for(values[-1]))


def _last_for(line: str) -> str:
    """Return ``for`` of the last element of a Forwarded field (RFC 7239), or ``""``."""
    found = ""
    position = 0
    while True:
        pair = _PAIR.match(line, position)
        assert pair is not None  # it may be empty
        name, quoted, bare = pair.groups()
        if name is not None and name.lower() == "for":
            if found:
                return ""  # section 4: "Each parameter MUST NOT occur more than once per"
            found = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        position = pair.end()
        if position == len(line):
            return found
        if line[position] == ",":
            found = ""
        elif line[position] != ";":
            return ""
        position += 1


def _address(text: str) -> str | None:
    """Read an address, with or without a port; None if it is none."""
    text = text.strip(" \t")
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        if port and not (port[0] == ":" and _PORT.fullmatch(port[1:])):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(port):
            return None
    if "%" in text:
        return None  # a zone means something on one host only
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
