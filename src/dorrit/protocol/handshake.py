"""The server's side of the opening handshake (R2, RFC 6455 section 4.2).

The request line is matched here; the field lines are parsed by httptools, which is Node.js's llhttp
and strict by default; what the fields mean is checked here again. Nothing is accepted on a guess: a
request that two programs could read in two ways is refused, because the web server in front is one
of the two.
"""

import re
from binascii import b2a_base64
from hashlib import sha1
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from dorrit.protocol.diagnosis import diagnose
from dorrit.protocol.fields import Headers
from dorrit.protocol.refusal import (
    HANDSHAKE_DEADLINE,
    HEAD_TOO_LARGE,
    MAX_HEAD,
    MAX_LINE,
    OPEN_CALLBACK_RAISED,
    OPEN_CALLBACK_REFUSED,
    TCHARS,
    TOO_MANY_CONNECTIONS,
    Refusal,
    bad_request,
    refusal,
)
from dorrit.protocol.request import Request

__all__ = [
    "HANDSHAKE_DEADLINE",
    "HEAD_TOO_LARGE",
    "MAX_FIELDS",
    "MAX_HEAD",
    "MAX_LINE",
    "OPEN_CALLBACK_RAISED",
    "OPEN_CALLBACK_REFUSED",
    "TOO_MANY_CONNECTIONS",
    "Refusal",
    "Request",
    "accept_response",
    "parse_request",
    "plain_request",
    "refusal",
]

MAX_FIELDS: Final = 128
"""Header fields of a request. 64 KiB of the shortest fields would be a megabyte of objects."""

_CRLF: Final = b"\r\n"
_END: Final = b"\r\n\r\n"
_PARTS: Final = 3
"""Of a request line."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OWS: Final = " \t"

# No quantifier below can backtrack: each is possessive, so that each pattern takes one pass.
#
# RFC 9112 section 3: request-line = method SP request-target SP HTTP-version. The target is any
# visible ASCII: browsers send some characters, such as "|", that RFC 3986 has them escape.
_REQUEST_LINE: Final = re.compile(rf"({TCHARS}) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])\r\n".encode())
# RFC 9110 section 7.2: Host = uri-host [ ":" port ], of RFC 3986 section 3.2.2.
_ADDRESS: Final = r"\[(?:[0-9A-Fa-f:.]++|[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"
_NAME: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*+"
_HOST: Final = rf"(?:{_ADDRESS}|{_NAME})(?::[0-9]*+)?+"
_HOST_VALUE: Final = re.compile(_HOST)
# RFC 9112 section 3.2: origin-form and absolute-form are for GET, authority-form and "*" are not;
# RFC 6455 section 4.1 has the scheme be http or https, and section 3 forbids a fragment. RFC 9110
# section 4.2.1 rejects "an empty host identifier", which a Host field may have.
_TARGET: Final = re.compile(rf"(?:[Hh][Tt][Tt][Pp][Ss]?+://(?![:/?]|\Z){_HOST}(?=[/?]|\Z)|/)[^#]*+")
# What `parse_request` has taken, so that one look finds the parts of it.
_FIELD_AGAIN: Final = re.compile(r"([^:\r\n]++):([^\r\n]*+)\r\n")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_TOKEN: Final = re.compile(TCHARS)
_LIST_ELEMENT: Final = re.compile(rf"{TCHARS}(?:/{TCHARS})?+")
# RFC 4648 section 4: 16 bytes are 22 characters and two of padding. The last character carries two
# bits; section 3.5: where the four that are left are not zero, decoders "MAY choose to reject" it.
# The key is hashed as it stands, so that nothing depends on them, and the key that RFC 6455 section
# 4.1 has as its example, "AQIDBAUGBwgJCgsMDQ4PEC==", has such bits.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
# RFC 9110 section 8.6: Content-Length = 1*DIGIT. Whoever reads zeros, in base 10 or 8, reads 0.
_ZERO: Final = re.compile(r"0++")
# RFC 9110 section 9.3, RFC 5789 and RFC 4918; the log names no method that a client has made up.
_METHODS: Final = frozenset(
    ("HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND")
)

# What the web server in between has to be told, so that it passes on what the client has asked for.
_NGINX_VERSION: Final = "nginx: proxy_http_version 1.1;"
_NGINX_UPGRADE: Final = (
    'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
)
_OTHERS_UPGRADE: Final = (
    'Apache: ProxyPass ... upgrade=websocket; lighttpd: proxy.header = ("upgrade" => "enable"); '
    "HAProxy, Caddy: no rule that deletes Upgrade or Connection"
)
_CHECK: Final = "for the health check of a load balancer there is --health"


_MALFORMED_FIELD: Final = (
    "a header field is malformed: it is not a name, a colon and a value without control characters"
)


class _Fields:
    """What httptools calls while it parses: it collects the field lines."""

    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(_OWS)))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_request(head: bytes) -> Request:
    """Return the request of a WebSocket handshake, or refuse it.

    The work grows with the length of ``head`` and not faster.

    Args:
        head: The request up to and with the first empty line, at most `MAX_HEAD` bytes.

    Raises:
        Refusal: The request is not a valid upgrade to a WebSocket; nothing else is ever raised.
    """
    if not head.startswith(b"GET ") and (diagnosis := diagnose(head)) is not None:
        raise diagnosis
    # RFC 9112 section 2.2: "a server that is expecting to receive and parse a request-line SHOULD
    # ignore at least one empty line (CRLF) received prior to the request-line."
    head = head.removeprefix(_CRLF)
    _check_size(head)
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise diagnose(head) or bad_request(_wrong_with_request_line(head))
    method, target, major, minor = (part.decode("ascii") for part in line.groups())
    # RFC 9110 section 15.6.6: 505 is for "the major version of HTTP that was used in the request
    # message". The preface of HTTP/2 (RFC 9113 section 3.4) is made to look like such a request.
    if major != "1":
        raise refusal(
            505,
            f"the request is HTTP/{major}.{minor}",
            "let the web server speak HTTP/1.1 to this socket",
        )
    # RFC 6455 section 4.2.1, item 1: "An HTTP/1.1 or higher GET request"
    if method != "GET":
        raise refusal(
            405,
            f"the method is {method if method in _METHODS else 'an unknown one'}, not GET",
            _CHECK if method in ("HEAD", "OPTIONS") else "",
            send_content=method != "HEAD",
        )
    if not _TARGET.fullmatch(target):
        raise bad_request("the request target is not a path or http address, or has a fragment")
    fields = _parse_fields(head, line.end())
    values = _by_name(fields)
    _check_framing(values, has_host=minor != "0")
    _check_upgrade(values, is_http_1_0=minor == "0")
    _check_subprotocols(values)
    return Request(method, target, Headers(fields), _check_websocket(values))


def request_again(head: bytes) -> Request:
    """Return the request of a head that `parse_request` has taken before, in a fifth of the time.

    What it has looked at is not looked at again: thousands of clients wait for this, after a crash.

    Args:
        head: As `parse_request` has taken it.

    Raises:
        Refusal: It is something else; not everything else is found out.
    """
    head = head.removeprefix(_CRLF)
    line = _REQUEST_LINE.match(head)
    if line is None or not head.endswith(_END):
        raise bad_request("it is not the head of a request")
    text = head.decode("latin-1")
    fields = [(name, value.strip(_OWS)) for name, value in _FIELD_AGAIN.findall(text, line.end())]
    key = next((value for name, value in fields if name.lower() == "sec-websocket-key"), None)
    if key is None or len(fields) != text.count("\r\n", line.end()) - 1:
        raise bad_request(_MALFORMED_FIELD)
    return Request(line[1].decode("ascii"), line[2].decode("ascii"), Headers(fields), key)


def plain_request(head: bytes) -> tuple[str, str] | None:
    """Return method and target of a request that is well-formed and asks for no upgrade, or None.

    HTTP/1.0 will do, and no Host either: that is how load balancers ask.

    Args:
        head: As `parse_request` takes it.
    """
    head = head.removeprefix(_CRLF)
    line = _REQUEST_LINE.match(head)
    if line is None or line[3] != b"1":
        return None
    try:
        _check_size(head)
        values = _by_name(_parse_fields(head, line.end()))
        _check_framing(values, has_host=False)
    except Refusal:
        return None
    if "upgrade" in values or "sec-websocket-key" in values:
        return None
    return line[1].decode("ascii"), line[2].decode("ascii")


def _wrong_with_request_line(head: bytes) -> str:
    """Return what is wrong with a request line that is malformed."""
    line = head.partition(_CRLF)[0]
    parts = line.split(b" ")
    if not line:
        return "the request line is malformed: there is more than one empty line before it"
    if not (line.isascii() and line.decode("ascii").isprintable()):
        return (
            "the request line is malformed: it has a byte that is not visible ASCII, which must be "
            "percent-encoded"
        )
    if len(parts) != _PARTS:
        return (
            "the request line is malformed: it is not a method, a target and a version with one "
            "space between them each"
        )
    if not _VERSION.fullmatch(parts[2]):
        return (
            "the request line is malformed: its version is not HTTP/ with a digit, a dot, a digit"
        )
    return "the request line is malformed: its method is not a token"


def _check_size(head: bytes) -> None:
    """Refuse a head that is too large, or has line ends that not everyone takes for one."""
    if not head.endswith(_END) or head.find(_END) != len(head) - len(_END):
        raise bad_request("the head does not end with its only empty line")
    first = head.find(b"\r\n")
    if first > MAX_LINE:
        raise refusal(414, f"the request line is {first} bytes, of at most {MAX_LINE}")
    if len(head) > MAX_HEAD:
        raise refusal(*HEAD_TOO_LARGE)
    if len(head) > MAX_LINE:
        longest = max(map(len, head.split(b"\r\n")))
        if longest > MAX_LINE:
            raise refusal(431, f"a header field is {longest} bytes, of at most {MAX_LINE}")
    lines = head.count(b"\r\n")
    # RFC 9112 section 2.2: a recipient "MAY recognize a single LF as a line terminator", and has to
    # call a bare CR invalid or replace it. Where one may, the other may not; so neither passes.
    if not lines == head.count(b"\r") == head.count(b"\n"):
        raise bad_request("the head has a CR or LF that is not part of a CRLF")
    # The request line and the empty line are not fields.
    if lines - 2 > MAX_FIELDS:
        raise refusal(431, f"there are {lines - 2} header fields, of at most {MAX_FIELDS}")


def _parse_fields(head: bytes, start: int) -> list[tuple[str, str]]:
    """Return the header fields, whose lines begin at the offset ``start`` of ``head``."""
    parsed = _Fields()
    parser = HttpRequestParser(parsed)
    try:
        # The request line is known to be good and httptools reads it more loosely (it takes RTSP,
        # two spaces, HTTP/0.9), so it gets one that says nothing.
        parser.feed_data(b"GET / HTTP/1.1\r\n")
        parser.feed_data(memoryview(head)[start:])
    except HttpParserUpgrade:
        pass  # This is how httptools says that the request asks for an upgrade.
    except HttpParserError:
        # RFC 9112 section 5.1: white space before the colon MUST be answered 400; section 5.2: so
        # must line folding. RFC 9110 section 5.5: fields with CR, LF or NUL are "invalid and
        # dangerous".
        raise bad_request(_MALFORMED_FIELD) from None
    # One field for each line: no folding, whatever a later release of the parser makes of it.
    if not parsed.complete or len(parsed.fields) != head.count(b"\r\n", start) - 1:
        raise bad_request(_MALFORMED_FIELD)
    return parsed.fields


def _by_name(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    return values


def _check_framing(values: dict[str, list[str]], *, has_host: bool) -> None:
    """Refuse what makes it unclear to whom the request goes and where it ends (RFC 9112)."""
    # RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any
    # HTTP/1.1 request message that lacks a Host header field and to any request message that
    # contains more than one Host header field line or a Host header field with an invalid field
    # value."
    hosts = values.get("host", [])
    if len(hosts) > 1 or (has_host and not hosts):
        raise bad_request(f"there are {len(hosts)} Host fields, not 1")
    if hosts and not _HOST_VALUE.fullmatch(hosts[0]):
        raise bad_request("the Host field is not a name or address, perhaps with a port")
    # RFC 6454 section 7.3: "The user agent MUST NOT include more than one Origin header field". Who
    # checks the origin must not have to choose.
    if len(values.get("origin", [])) > 1:
        raise bad_request("there is more than one Origin field")
    # A WebSocket begins where the head ends, so a request with content would be read in two ways.
    # Apache that was asked over HTTP/2 adds a Content-Length of 0, which says the same as none.
    # RFC 9110 section 8.6 leaves it to us what to do with the same length given twice; what two
    # programs could read in two ways is refused.
    if "transfer-encoding" in values:
        raise bad_request("the request has a Transfer-Encoding, and may have no content")
    lengths = values.get("content-length", [])
    if len(lengths) > 1 or (lengths and not _ZERO.fullmatch(lengths[0])):
        raise bad_request("the request has a Content-Length other than 0")


def _elements(values: dict[str, list[str]], name: str) -> set[str]:
    """Return the elements of a list of tokens or protocols, in lower case (RFC 9110 5.6.1)."""
    elements = [
        element.strip(_OWS).lower()
        for line in values.get(name.lower(), [])
        for element in line.split(",")
    ]
    # RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list
    # elements".
    found = {element for element in elements if element}
    for element in found:
        if not _LIST_ELEMENT.fullmatch(element):
            raise bad_request(f"the {name} field has an element that is not a token")
    return found


def _check_upgrade(values: dict[str, list[str]], *, is_http_1_0: bool) -> None:
    """Refuse a request that does not ask for an upgrade to WebSocket."""
    # RFC 6455 section 4.2.1, items 3 and 4: Upgrade contains "the value "websocket", treated as an
    # ASCII case-insensitive value"; Connection "includes the token "Upgrade"", likewise.
    asks = "websocket" in _elements(values, "Upgrade")
    connection = "upgrade" in _elements(values, "Connection")
    # A key says that the client did ask, and that the web server in between dropped the question,
    # as nginx does until it is told otherwise.
    was_asked = "sec-websocket-key" in values
    missing = "" if asks and connection else f"{_NGINX_UPGRADE} {_OTHERS_UPGRADE}"
    dropped = "A proxy on the way has to pass it on." if was_asked else ""
    # RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an
    # HTTP/1.0 request."
    if is_http_1_0:
        hint = f"{_NGINX_VERSION} {missing}".rstrip() if was_asked else _CHECK
        raise refusal(426, "the request is HTTP/1.0, in which nothing can be upgraded", hint)
    if missing:
        field = "Connection: upgrade" if asks else "Upgrade: websocket"
        hint = f"nginx: {missing}" if was_asked else _CHECK
        advice = f"The request has no {field} here. {dropped}" if was_asked else ""
        raise refusal(426, f"the request has no {field}", hint, advice=advice)


def _check_subprotocols(values: dict[str, list[str]]) -> None:
    """Refuse a request that offers what can't be the name of a subprotocol."""
    for line in values.get("sec-websocket-protocol", []):
        for element in line.split(","):
            # RFC 6455 section 4.1, item 10: "The elements that comprise this value MUST be
            # non-empty strings with characters in the range U+0021 to U+007E not including
            # separator characters"; empty elements of a list are ignored, as above.
            name = element.strip(_OWS)
            if name and not _TOKEN.fullmatch(name):
                # Browsers can set no other field, so that applications put tokens here.
                raise bad_request(
                    "the Sec-WebSocket-Protocol field has an element that is not a token; base64 "
                    "must be without = and / there, as base64url is"
                )


def _check_websocket(values: dict[str, list[str]]) -> str:
    """Return the key of a request whose version is 13, or refuse it."""
    # RFC 6455 section 11.3.5: the Sec-WebSocket-Version field "MUST NOT appear more than once in an
    # HTTP request". Section 4.2.1, item 6, asks for it, and a request that is not as described
    # there gets "an appropriate error code (such as 400 Bad Request)". 426 is for a client that
    # named a version and can try another (section 4.4); one that names none has none to change.
    versions = values.get("sec-websocket-version", [])
    if len(versions) != 1:
        raise bad_request(f"there are {len(versions)} Sec-WebSocket-Version fields, not 1")
    # RFC 6455 section 4.2.2, item 4: "If this version does not match a version understood by the
    # server, the server MUST abort the WebSocket handshake" and send a status "such as 426 Upgrade
    # Required" with a Sec-WebSocket-Version.
    if versions[0] != "13":
        raise refusal(426, "the Sec-WebSocket-Version is not 13")
    # RFC 6455 section 4.2.1, item 5: "a base64-encoded [...] value that, when decoded, is 16 bytes
    # in length". Section 11.3.1: it "MUST NOT appear more than once in an HTTP request".
    keys = values.get("sec-websocket-key", [])
    if len(keys) != 1:
        raise bad_request(f"there are {len(keys)} Sec-WebSocket-Key fields, not 1")
    if not _KEY.fullmatch(keys[0]):
        raise bad_request("the Sec-WebSocket-Key is not the base64 form of 16 bytes")
    return keys[0]


def accept_response(request: Request) -> bytes:
    """Return the 101 that opens the WebSocket (RFC 6455 section 4.2.2).

    Args:
        request: What `parse_request` returned; it knows which subprotocol was chosen.
    """
    # RFC 6455 section 4.2.2, item 5.4: the key "concatenated with the string
    # "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"", its SHA-1 hash, base64-encoded. It proves that the
    # server understood the request and protects nothing.
    digest = sha1(request.key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + b2a_base64(digest, newline=False) + b"\r\n"
    )
    if request.subprotocol is not None:
        response += f"Sec-WebSocket-Protocol: {request.subprotocol}\r\n".encode("ascii")
    if request.extensions:
        response += f"Sec-WebSocket-Extensions: {request.extensions}\r\n".encode("ascii")
    return response + b"\r\n"
