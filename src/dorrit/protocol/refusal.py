"""The HTTP answers that refuse a handshake (RFC 6455 section 4.2.2, RFC 9110 section 15)."""

import re
from http import HTTPStatus
from typing import Final

from dorrit.protocol.display import quoted

MAX_LINE: Final = 32 * 1024
"""Bytes of the longest line in a request's head, without its CRLF."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of the longest head, with the empty line that ends it."""

TCHARS: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""The pattern of a token (RFC 9110 section 5.6.2). Its quantifier, "++", never backtracks."""

TEXT: Final = "text/plain; charset=utf-8"
"""The type of the content of an answer that brings none of its own."""

_FIELD_NAME: Final = re.compile(TCHARS)
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e]*+")

# RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in a 405 response
# containing a list of the target resource's currently supported methods."
#
# RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426 response to
# indicate the required protocol(s)". RFC 6455 section 4.2.2 asks for the version besides.
_HEADERS_OF: Final = {
    405: (("Allow", "GET"),),
    426: (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
}

# What a person who opens the address in a browser, or a program that speaks plain HTTP, can use.
_ADVICE_OF: Final = {
    403: "The server did not accept this connection.",
    405: "A WebSocket is opened with the method GET.",
    408: "The request did not arrive in time.",
    414: "The first line of the request is too long.",
    426: "This address is a WebSocket. Use a WebSocket client, version 13.",
    429: "There are too many connections from your address.",
    431: "The header of the request is too large.",
    500: "The server met an error of its own.",
    503: "The server can't take another connection now. Try again later.",
    505: "Use HTTP/1.1.",
}


# The refusals that the engine makes by itself, as the arguments of `refusal`:
# ``refusal(*HEAD_TOO_LARGE)``. They are not ready-made exceptions, because an exception that is
# raised twice keeps the traceback of both.
def head_too_large(most: int) -> "Refusal":
    """Return the refusal of a head of more than so many bytes."""
    hint = "see --max-head" if most < MAX_HEAD else ""
    return refusal(431, f"the head of the request is larger than {most} bytes", hint)


HEAD_TOO_LARGE: Final = (431, f"the head of the request is larger than {MAX_HEAD} bytes")
TOO_MANY_HANDSHAKES: Final = (
    503,
    "too many connections have not sent their request yet, and this is the oldest one",
    "see --max-handshakes",
)
TOO_MANY_OF_CLIENT: Final = (
    429,
    "the client has as many connections as one may have",
    "see --max-per-client",
)
HANDSHAKE_DEADLINE: Final = (
    408,
    "the head of the request did not arrive in time",
    "see --handshake-timeout",
)
TOO_MANY_CONNECTIONS: Final = (
    503,
    "there are as many connections as allowed",
    "raise -m, --max-connections",
)
OPEN_CALLBACK_TIMEOUT: Final = (503, "the server's code has not answered in time")
OUT_OF_BUDGET: Final = (503, "the server has too much to do", "see --max-buffered")
STOPPING: Final = (503, "the server stops")
RESTARTED: Final = (503, "the server was restarted")
OPEN_CALLBACK_REFUSED: Final = (403, "the server's code refused the connection")
OPEN_CALLBACK_RAISED: Final = (500, "the server's code raised an exception")

WITHOUT_CONTENT: Final = 304
"""The one status of a refusal that has none. RFC 9110 section 15.4.5: "A 304 response is terminated
by the end of the header section; it cannot contain content or trailers." """


class Refusal(Exception):  # noqa: N818 - it is an answer, more than an error
    """A handshake that is answered with an HTTP error and closed (R2).

    Attributes:
        status: The HTTP status code, 300 to 599.
        reason: Why, in one line for the log: which field, and what is wrong with it. Nothing that
            the client sent is in it, but for what `quoted` lets through.
        hint: Advice for the administrator in one line, or empty. It never goes to the client.
        advice: What is wrong with the request, in a sentence for the client; empty: what is usual
            for the status. It repeats nothing that the client sent.
        headers: Header fields of the answer besides the ones that every refusal has.
        send_content: False when the answer may have no content, because the method is HEAD.
        content: The content of the answer; None: a line that names the status.
        content_type: What kind of content that is.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        hint: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        *,
        send_content: bool = True,
        content: bytes | None = None,
        content_type: str = TEXT,
        advice: str = "",
    ) -> None:
        """Describe a refusal; `refusal` adds the header fields that the status calls for."""
        super().__init__(status, reason, hint)
        self.status = status
        self.reason = reason
        self.hint = hint
        self.headers = headers
        self.send_content = send_content
        self.content = content
        self.content_type = content_type
        self.advice = advice

    def __str__(self) -> str:
        """Return the line for the log."""
        return f"{self.status} {self.reason}" + (f" ({self.hint})" if self.hint else "")

    def response(self) -> bytes:
        """Return the whole HTTP/1.1 answer, after which the connection must be closed.

        It repeats nothing that the client sent. It has no Date: RFC 9110 section 6.6.1 asks for one
        only from "an origin server with a clock", which this module has not, and has the web server
        in front add it.
        """
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""  # RFC 9112 section 4: the phrase may be empty, the space before it may not.
        title = f"{self.status} {phrase}".rstrip()
        advice = self.advice or _ADVICE_OF.get(self.status, "")
        content = self.content
        if content is None:
            content = (f"{title}\n{advice}\n" if advice else f"{title}\n").encode()
        # RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option
        # in the Connection header field (Section 7.6.1) to inform intermediaries not to forward
        # this field." It stands beside close: the web server in front must not use the connection
        # again, whether the client then upgrades or not.
        upgrades = any(name.lower() == "upgrade" for name, _ in self.headers)
        fields = [("Connection", "close, upgrade" if upgrades else "close")]
        if self.status == WITHOUT_CONTENT:
            content = b""
        else:
            fields.append(("Content-Type", self.content_type))
            fields.append(("Content-Length", str(len(content))))
        fields += self.headers
        head = f"HTTP/1.1 {self.status} {phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        # RFC 9110 section 9.3.2: in an answer to HEAD "the server MUST NOT send content"; the
        # Content-Length stays what it would be for GET (section 8.6).
        return head.encode("ascii") + (content if self.send_content else b"")


def refusal(
    status: int,
    reason: str,
    hint: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    *,
    send_content: bool = True,
    content: bytes | None = None,
    content_type: str = TEXT,
    advice: str = "",
) -> Refusal:
    """Return a refusal with the header fields that its status calls for, ready to be raised.

    Args:
        status: The HTTP status code, 300 to 599.
        reason: As in `Refusal`; the caller has made it safe for the log.
        hint: As in `Refusal`.
        headers: More header fields, such as ``WWW-Authenticate`` with 401.
        send_content: As in `Refusal`.
        content: As in `Refusal`.
        content_type: As in `Refusal`.
        advice: As in `Refusal`.

    Raises:
        ValueError: The status is not a refusal or allows no content, or a header field could not be
            sent as it is.
    """
    if status // 100 not in (3, 4, 5):
        raise ValueError(f"status is {status}, and a refusal needs one from 300 to 599")
    if status == WITHOUT_CONTENT and content:
        raise ValueError(f"a response with the status {status} can't have content")
    for name, value in (*headers, ("Content-Type", content_type)):
        # A line end in a field would let whoever wrote it add fields, or a whole answer. It may be
        # the client's, so that the log, which gets this, hears what is wrong and no more.
        if not _FIELD_NAME.fullmatch(name):
            raise ValueError("a header field can't be sent: its name is not a token")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(
                f"the header field {name} can't be sent: its value has a control character or one "
                "that is not ASCII"
            )
    for name, _ in headers:
        if name.lower() in ("connection", "content-length", "content-type", "transfer-encoding"):
            raise ValueError(f"the header field {name} is set by the refusal itself")
    return Refusal(
        status,
        reason,
        hint,
        _HEADERS_OF.get(status, ()) + headers,
        send_content=send_content,
        content=content,
        content_type=content_type,
        advice=advice,
    )


def bad_request(reason: str, hint: str = "") -> Refusal:
    """Return the refusal of a request that is malformed; client and log are told the same.

    Args:
        reason: Which part of the request, and what is wrong with it: a text of ours.
        hint: As in `Refusal`.
    """
    return refusal(400, reason, hint, advice=f"{reason[0].upper()}{reason[1:]}.")


def peer_refused(user: int | None) -> Refusal:
    """Return the refusal of a process that may not connect.

    Args:
        user: The number of the user who runs it, as the kernel says; None: that is not known.
    """
    who = "a user who is not known" if user is None else f"the user {user}"
    hint = "the web server's user is to be named by --allow-peer" + (
        "" if user is None else f"; if that is he: --allow-peer {user}"
    )
    advice = "The process that has connected may not use this socket."
    return refusal(403, f"the process that has connected is run by {who}", hint, advice=advice)


def origin_refused(origin: str | None, host: str | None, *, same: bool) -> Refusal:
    """Return the refusal of a client whose origin the server does not accept.

    Args:
        origin: Its Origin field, or None.
        host: The Host field.
        same: The server accepts the origin of the request's host.
    """
    if origin is None:
        return refusal(
            403,
            "the request has no Origin",
            "accept it with --origin none",
            advice="Only pages in a browser may connect: the request has no Origin.",
        )
    reason = f"the origin {quoted('origin', origin)} is not accepted"
    hint = "see --origin"
    if same:
        reason += f", nor that of the request's Host, {quoted('host', host or '')}"
        hint = (
            "if it is your own page, the web server must pass Host on: nginx: proxy_set_header "
            "Host $http_host; Apache: ProxyPreserveHost On; or name the page's origin with --origin"
        )
    return refusal(403, reason, hint, advice="The server accepts no pages of this origin.")
