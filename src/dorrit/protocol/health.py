"""The answer to a load balancer that asks whether the server is well: a plain GET of one path."""

from typing import Final

from dorrit.protocol.handshake import plain_request
from dorrit.protocol.refusal import TEXT

# RFC 9111 section 5.2.2.5: no cache between may answer in the server's place.
_HEAD: Final = (
    "HTTP/1.1 {}\r\n"
    "Connection: close\r\n"
    f"Content-Type: {TEXT}\r\n"
    "Content-Length: {}\r\n"
    "Cache-Control: no-store\r\n"
    "\r\n"
)


def health_response(head: bytes, path: str, trouble: str | None) -> bytes | None:
    """Return the whole answer to a request that was refused as the opening of a WebSocket.

    Args:
        head: The request.
        path: Where the server says how it is.
        trouble: Why nobody else should be sent here, in a word: 503 then. None: there is no reason.

    Returns:
        None if that is not what was asked.
    """
    asked = plain_request(head)
    if asked is None:
        return None
    method, target = asked
    if method not in ("GET", "HEAD") or target.partition("?")[0] != path:
        return None
    status, content = "200 OK", "ok\n"
    if trouble is not None:
        status, content = "503 Service Unavailable", f"{trouble}\n"
    # RFC 9110 section 9.3.2: an answer to HEAD has no content, and the length that it would have.
    response = _HEAD.format(status, len(content)) + ("" if method == "HEAD" else content)
    return response.encode("ascii")
