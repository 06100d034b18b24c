"""Which origins a server accepts: the pages whose scripts may open a WebSocket (RFC 6455 10.2).

"Servers that are not intended to process input from any web page but only for certain sites SHOULD
verify the |Origin| field is an origin they expect. If the origin indicated is unacceptable to the
server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403 Forbidden
status code." It protects the users of browsers; a program that is not a browser sends what
it likes.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

SAME: Final = "same"
NONE: Final = "none"
NULL: Final = "null"

_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}

# RFC 6454 section 6.2: scheme "://" host [ ":" port ], the host as in RFC 3986 section 3.2.2, where
# it may be empty: pages of a file have file:// in some programs. A star stands for what a host or a
# port has.
_ORIGIN: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*+)://"
    r"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9.\-_~%!$&'()*+,;=]*+)(?::([0-9*]++))?+"
)
_STAR: Final = "[A-Za-z0-9._-]+"

_STARS_MAX: Final = 2
"""Each star may try every length: two in an origin's length are little work, five are too much."""

_LENGTH_MAX: Final = 512
"""Characters of the longest origin that is looked at; a host's name has 253."""

_PORT_MAX: Final = 65535


def read_origin(text: str) -> str:
    """Look whether this is an origin, a pattern of origins or one of the words, and return it.

    Raises:
        ValueError: It is none of them.
    """
    if text in (SAME, NONE, NULL):
        return text
    if text == "*":
        raise ValueError("'*' is every origin: leave the option out to accept them all")
    why = _wrong_with(text)
    if why:
        raise ValueError(f"{text!r} {why}")
    return text


def _wrong_with(text: str) -> str:
    """Return why a text is neither an origin nor a pattern of origins; empty if it is one."""
    parts = _ORIGIN.fullmatch(text)
    if parts is None:
        if "://" not in text:
            return "is not an origin: it has no scheme: did you mean https://...?"
        if text.startswith("*"):
            return "is not an origin: a star stands in the host or the port; give each scheme"
        if not text.isascii():
            return f"is not an origin as browsers send it{_advice_in_ascii(text)}"
        if _ORIGIN.match(text) and "/" in text.partition("://")[2]:
            return "is not an origin: an origin has no path, and no slash at its end"
    elif parts[2] or parts[1].lower() not in _PORTS:
        port = parts[3] or ""
        if port.isdigit() and (len(port) > len(str(_PORT_MAX)) or int(port) > _PORT_MAX):
            return f"is not an origin: there is no port above {_PORT_MAX}"
        return f"has more than {_STARS_MAX} stars" if text.count("*") > _STARS_MAX else ""
    return "is not an origin: such as https://example.org, nor same, none or null"


def _advice_in_ascii(text: str) -> str:
    """Return how an origin with a name in other letters is written (RFC 3492), if it is one."""
    scheme, _, rest = text.partition("://")
    # As browsers do it (UTS 46): the codec "idna" of the library makes "ss" of "ß", they don't.
    labels = unicodedata.normalize("NFKC", rest.lower()).replace("\u3002", ".").split(".")
    try:
        rest.encode()  # a lone surrogate: what stood on the command line was not UTF-8
        encoded = [
            label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
            for label in labels
        ]
    except UnicodeError:
        return ""
    origin = f"{scheme}://{'.'.join(encoded)}"
    is_one = origin.isascii() and not _wrong_with(origin)
    return f": write {origin}" if is_one else ""


class Origins:
    """The origins that a server accepts.

    Attributes:
        accepts_same: Whether that of the request's host is one of them.
    """

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
        self.accepts_same: bool = SAME in words
        self._none = NONE in words
        self._exact = {word for word in words if word == NULL}
        self._patterns: list[re.Pattern[str]] = []
        self._hosts: list[re.Pattern[str]] = []
        for word in words:
            parts = _ORIGIN.fullmatch(word)
            # A host of stars only would be every host, also one that is not meant.
            if parts is not None and parts[2].strip("*."):
                self._hosts.append(_pattern_of(parts[2].lower()))
            if "*" in word:
                self._patterns.append(_pattern_of(_normal(word)))
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
        return self.accepts_same and host is not None and _same_host(normal, host)

    def names_host(self, host: str) -> bool:
        """Tell whether one of the origins is on this host, whatever the port.

        Args:
            host: A Host field.
        """
        if len(host) > _LENGTH_MAX:
            return False
        parts = _ORIGIN.fullmatch(f"http://{host}")
        if parts is None or "*" in host:
            return False
        return any(pattern.fullmatch(parts[2].lower()) for pattern in self._hosts)


def _pattern_of(text: str) -> re.Pattern[str]:
    return re.compile(_STAR.join(re.escape(part) for part in text.split("*")))


def _normal(origin: str) -> str:
    """Return an origin in lower case, without the port that its scheme implies."""
    scheme, _, rest = origin.lower().partition("://")
    port = _PORTS.get(scheme)
    return f"{scheme}://{rest.removesuffix(f':{port}') if port else rest}"


def _same_host(origin: str, host: str) -> bool:
    scheme, _, own = origin.partition("://")
    # An empty host is that of a file, and of a request that names none: these are not the same.
    return own != "" and _normal(f"{scheme}://{host}").partition("://")[2] == own
