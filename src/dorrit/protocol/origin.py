"""Which origins a server accepts: the pages whose scripts may open a WebSocket (RFC 6455 10.2).

"Servers that are not intended to process input from any web page but only for certain sites SHOULD
verify the |Origin| field is an origin they expect. If the origin indicated is unacceptable to the
server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403 Forbidden
status code." It protects the users of browsers; a program that is no browser sends what it likes.
"""

import re
from collections.abc import Iterable
from typing import Final

SAME: Final = "same"
NONE: Final = "none"
NULL: Final = "null"

_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}

# RFC 6454 section 6.2: scheme "://" host [ ":" port ]; a star stands for what a host or a port has.
_ORIGIN: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*+)://(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9.\-_*]++)(?::([0-9*]++))?+"
)
_STAR: Final = "[A-Za-z0-9._-]+"

_STARS_MAX: Final = 2
"""Each star may try every length: two in an origin's length are little work, five are too much."""

_LENGTH_MAX: Final = 512
"""Characters of the longest origin that is looked at; a host's name has 253."""


def read_origin(text: str) -> str:
    """Look whether this is an origin, a pattern of origins or one of the words, and return it.

    Raises:
        ValueError: It is none of them.
    """
    if text in (SAME, NONE, NULL):
        return text
    if text == "*":
        raise ValueError("'*' is every origin: leave the option out to accept them all")
    if _ORIGIN.fullmatch(text):
        if text.count("*") > _STARS_MAX:
            raise ValueError(f"{text!r} has more than {_STARS_MAX} stars")
        return text
    why = "such as https://example.org, nor same, none or null"
    if "://" not in text:
        why = "it has no scheme: did you mean https://...?"
    elif _ORIGIN.match(text) and "/" in text.partition("://")[2]:
        why = "an origin has no path, and no slash at its end"
    raise ValueError(f"{text!r} is no origin: {why}")


class Origins:
    """The origins that a server accepts."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take them.

        Args:
            texts: Exact origins (``https://example.org``); ``same``, that of the request's host;
                ``none``, a request without an origin; ``null``, that of a page which has none of
                its own; or patterns, in which ``*`` stands for one or more letters, digits, dots,
                hyphens and underscores (``https://*.example.org``, ``http://localhost:*``).

        Raises:
            ValueError: One is none of these.
        """
        words = [read_origin(text) for text in texts]
        self._same = SAME in words
        self._none = NONE in words
        self._exact = {word for word in words if word == NULL}
        self._patterns: list[re.Pattern[str]] = []
        for word in words:
            if "*" in word:
                pattern = _STAR.join(re.escape(part) for part in _normal(word).split("*"))
                self._patterns.append(re.compile(pattern))
            elif word not in (SAME, NONE, NULL):
                self._exact.add(_normal(word))

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Tell whether a client is accepted.

        Args:
            origin: Its Origin field, or None.
            host: The Host field.
        """
        if origin is None:
            return self._none
        if origin == NULL:
            return NULL in self._exact
        parts = _ORIGIN.fullmatch(origin) if len(origin) <= _LENGTH_MAX else None
        if parts is None or "*" in origin:
            return False
        normal = _normal(origin)
        if normal in self._exact or any(pattern.fullmatch(normal) for pattern in self._patterns):
            return True
        # The scheme of our own address is the web server's secret; its host and port are enough.
        return self._same and host is not None and _same_host(normal, host)


def _normal(origin: str) -> str:
    """Return an origin in lower case, without the port that its scheme implies."""
    scheme, _, rest = origin.lower().partition("://")
    port = _PORTS.get(scheme)
    return f"{scheme}://{rest.removesuffix(f':{port}') if port else rest}"


def _same_host(origin: str, host: str) -> bool:
    scheme, _, own = origin.partition("://")
    return _normal(f"{scheme}://{host}").partition("://")[2] == own
