"""What else a connection speaks that does not begin with an HTTP request.

Somebody has pointed a web server, or a client, at the socket in a wrong way, and each way has its
own first bytes. The diagnosis goes to the log and, as a plain HTTP answer, to whoever sent them:
most programs show at least that something was answered.
"""

import re
from typing import Final

from dorrit.protocol.refusal import Refusal, bad_request

# PROXY protocol, version 1: "the connection's header [...] starts with "PROXY" followed by exactly
# one space"; version 2: "a fixed 12-byte signature".
_PROXY_1: Final = b"PROXY "
_PROXY_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"

_NO_PROXY_PROTOCOL: Final = (
    "the connection begins with the PROXY protocol, not with an HTTP request",
    (
        "turn it off for this socket: HAProxy: neither send-proxy nor send-proxy-v2; nginx "
        "(stream): proxy_protocol off; the client's address comes in a header, see --trust"
    ),
)
_SPEAK_HTTP: Final = "let the web server speak HTTP/1.1 to this socket"

# First bytes and what they are. TLS: RFC 8446 section 5.1, a record of the type 22 and version 3.x.
# FastCGI: version 1, type FCGI_BEGIN_REQUEST. uwsgi: modifier 0, two bytes of length, modifier 0.
# SCGI: a netstring that begins with CONTENT_LENGTH. AJP: 0x1234.
_OTHERS: Final = (
    (
        re.compile(rb"\x16\x03"),
        "the connection begins with TLS, not with an HTTP request",
        "TLS ends at the web server, which must speak plain HTTP/1.1 to this socket (http://)",
    ),
    (
        re.compile(rb"\x01\x01"),
        "the connection begins with FastCGI, not with an HTTP request",
        "nginx: proxy_pass, not fastcgi_pass; others: their proxy for HTTP",
    ),
    (
        re.compile(rb"\x00[\x00-\xff]{2}\x00[\x00-\xff]\x00"),
        "the connection begins with the uwsgi protocol, not with an HTTP request",
        "nginx: proxy_pass, not uwsgi_pass",
    ),
    (
        re.compile(rb"[0-9]{1,6}:CONTENT_LENGTH\x00"),
        "the connection begins with SCGI, not with an HTTP request",
        "nginx: proxy_pass, not scgi_pass; others: their proxy for HTTP",
    ),
    (
        re.compile(rb"\x12\x34"),
        "the connection begins with AJP, not with an HTTP request",
        "Apache: ProxyPass with unix:PATH|http://, not ajp://",
    ),
)

# RFC 1945 section 3.1 (HTTP/0.9): Simple-Request = "GET" SP Request-URI CRLF, without a version.
_HTTP_0_9: Final = re.compile(rb"GET [^ \r\n]++ ?+\r?\n")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
# RFC 9110 section 9.1: a method is a token. Of line ends before it the parser says what it thinks.
_NO_METHOD: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]")


def diagnose(data: bytes) -> Refusal | None:
    """Return why this can't become a request, whatever follows it; None if it still can.

    Args:
        data: What has come first on a connection.
    """
    if data.startswith((_PROXY_1, _PROXY_2)):
        return bad_request(*_NO_PROXY_PROTOCOL)
    if _PROXY_2.startswith(data):
        return None
    data = data.removeprefix(b"\r\n")  # an empty line may stand before a request
    for pattern, reason, hint in _OTHERS:
        if pattern.match(data):
            return bad_request(reason, hint)
    if _HTTP_0_9.match(data):
        return bad_request(
            "the request line is malformed: it names no version, as HTTP/0.9 did", _SPEAK_HTTP
        )
    if _NO_METHOD.match(data):
        return bad_request("the connection begins with bytes that no HTTP request has", _SPEAK_HTTP)
    # RFC 9112 section 2.2: a recipient "MAY recognize a single LF as a line terminator", see
    # handshake.py. The empty line that such a client sends at its end would be waited for in vain.
    if _BARE.search(data):
        return bad_request("the head has a CR or LF that is not part of a CRLF")
    return None
