"""The request that opens a WebSocket, as a server's handlers see it."""

import re
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from dorrit.protocol.display import target_for_log
from dorrit.protocol.fields import Headers, Query
from dorrit.protocol.forwarded import client_address

_OWS: Final = " \t"


class Request:
    """A valid request to open a WebSocket (RFC 6455 section 4.2.1).

    Attributes:
        method: Always ``GET``.
        target: The request target as it was sent: visible ASCII, origin-form or absolute-form.
        headers: The header fields.
        key: The ``Sec-WebSocket-Key``.
    """

    __slots__ = ("_extensions", "_is_answered", "_is_resumed", "_query", "_subprotocol", "_trusted",
                 "headers", "key", "method", "target")  # fmt: skip

    def __init__(self, method: str, target: str, headers: Headers, key: str) -> None:
        """Take the parts, which have been checked."""
        self.method: str = method
        self.target: str = target
        self.headers: Headers = headers
        self.key: str = key
        # Both are a part of the response. So they can't be set: whatever was in them would be sent.
        self._subprotocol: str | None = None
        self._extensions = ""
        self._query: Query | None = None
        self._trusted: str | None = None
        self._is_answered = False
        self._is_resumed = False

    def __repr__(self) -> str:
        """Return method and path; the query may hold secrets."""
        return f"<Request {self.method} {target_for_log(self.target)}>"

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields called ``name``, in any case of letters, in order."""
        return self.headers.get_all(name)

    @property
    def path(self) -> str:
        """The path of the target, with percent-escapes decoded as UTF-8: begins with ``/``."""
        path = self.target.partition("?")[0]
        if not path.startswith("/"):
            # RFC 9112 section 3.2.2: absolute-form is "http://authority/path".
            path = "/" + path.partition("://")[2].partition("/")[2]
        return unquote(path, errors="replace")

    @property
    def query(self) -> Query:
        """The query of the target; empty if there is none."""
        if self._query is None:
            self._query = Query.parse(self.target.partition("?")[2])
        return self._query

    @property
    def cookie(self) -> str:
        """The content of the Cookie field, ``""`` if there was none.

        A browser that speaks HTTP/2 may send a field for each cookie. RFC 9113 section 8.2.3 has
        the web server join them with ``; `` on the way to HTTP/1.1; some leave it to us.
        """
        return self.headers.get("Cookie", "")

    @property
    def cookies(self) -> MappingProxyType[str, str]:
        """The cookies by their names, values as they were sent, without quotes around them.

        What is not a cookie is left out. RFC 6265 section 5.4: "Cookies with longer paths are
        listed before cookies with shorter paths", so of two with one name the first one counts.
        """
        cookies: dict[str, str] = {}
        for piece in self.cookie.split(";"):
            name, equals, value = piece.partition("=")
            name, value = name.strip(_OWS), value.strip(_OWS)
            if equals and name:
                if len(value) > 1 and value[0] == value[-1] == '"':
                    value = value[1:-1]
                cookies.setdefault(name, value)
        return MappingProxyType(cookies)

    @property
    def host(self) -> str | None:
        """The host that was asked for: a name or an address, perhaps with a port.

        It stands in the Host field, or in a target that is a whole address. RFC 9112 section 3.2.2:
        "When an origin server receives a request with an absolute-form of request-target, the
        origin server MUST ignore the received Host header field (if any) and instead use the host
        information of the request-target."
        """
        if not self.target.startswith("/"):
            return re.split("[/?]", self.target.partition("://")[2], maxsplit=1)[0]
        return self.headers.get("Host")

    @property
    def origin(self) -> str | None:
        """The Origin field, which a browser sends and no script can change; None for no browser."""
        return self.headers.get("Origin")

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offers in ``Sec-WebSocket-Protocol``, in its order of preference."""
        offered = (
            item.strip(_OWS)
            for line in self.get_all("Sec-WebSocket-Protocol")
            for item in line.split(",")
        )
        return tuple(dict.fromkeys(item for item in offered if item))

    def select(self, *supported: str) -> str | None:
        """Choose a subprotocol, in the open handler: the first supported one that is offered.

        RFC 6455 section 4.2.2: the server's response names "a single value [...] representing the
        subprotocol that the server is ready to use. The value chosen MUST be derived from the
        client's handshake".

        Args:
            *supported: What the server speaks, the best first. Compared exactly.

        Returns:
            What was chosen, which is now `subprotocol`; None if nothing fits. Then the client gets
            no subprotocol, and may go. After a reload the client speaks what was chosen before:
            that is returned if it is among those, else None.

        Raises:
            RuntimeError: The request has been answered.
        """
        if self._is_resumed:
            return self._subprotocol if self._subprotocol in supported else None
        if self._is_answered:
            raise RuntimeError("a subprotocol can be chosen in the open handler only")
        offered = self.subprotocols
        self._subprotocol = next((name for name in supported if name in offered), None)
        return self._subprotocol

    @property
    def subprotocol(self) -> str | None:
        """What `select` has chosen, or None."""
        return self._subprotocol

    @property
    def extensions(self) -> str:
        """What the response names in ``Sec-WebSocket-Extensions``, or ``""``."""
        return self._extensions

    @property
    def client(self) -> str | None:
        """The client's address, from the header that the server trusts (setting `trust`).

        An IPv4 or IPv6 address in its usual form; None if no header is trusted, or if it holds no
        address.
        """
        if self._trusted is None:
            return None
        return client_address(self.get_all(self._trusted), self._trusted)

    # What the server tells it

    def trust(self, header: str | None) -> None:
        """Take the client's address from this header from now on; for the server."""
        self._trusted = header

    def agree(self, extensions: str) -> None:
        """Take what the response says of extensions; for the server."""
        self._extensions = extensions

    def answered(self) -> None:
        """The response is made: nothing can be chosen any more; for the server."""
        self._is_answered = True

    def resumed(self, subprotocol: str | None) -> None:
        """An earlier image of the process has made the response, with this; for the server."""
        self._subprotocol = subprotocol
        self._is_resumed = True

    def head(self) -> bytes:
        """Return what `parse_request` reads as this request; for the server.

        No line of it is longer than it was when it came.
        """
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}:{value}" for name, value in self.headers.pairs]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
