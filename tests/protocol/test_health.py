"""What a load balancer that asks for the server's health is answered."""

import h11
import pytest

from dorrit.protocol.health import health_response
from tests.support.frames import REQUEST


def read(answer: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert client.their_state is h11.MUST_CLOSE
    return response, content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("trouble", "status", "said"), [(None, 200, b"ok\n"), ("stopping", 503, b"stopping\n")]
)
@pytest.mark.parametrize(
    "rest",
    [
        " HTTP/1.1\r\nHost: a\r\n\r\n",
        " HTTP/1.1\r\n\r\n",
        " HTTP/1.0\r\n\r\n",
        " HTTP/1.0\r\nHost:\r\nConnection: keep-alive\r\n\r\n",
        "?from=balancer HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_O5_the_path_is_answered_whole_and_the_connection_closed(
    method: str, trouble: str | None, status: int, said: bytes, rest: str
) -> None:
    head = f"{method} /health{rest}".encode()
    answer = health_response(head, "/health", trouble)
    assert answer is not None
    response, content = read(answer, method)
    assert response.status_code == status
    headers = dict(response.headers)
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers[b"content-length"] == str(len(said)).encode()
    assert headers[b"cache-control"] == b"no-store"
    assert content == (said if method == "GET" else b"")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/2.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        b"GET /health\r\n\r\n",
        REQUEST.replace(b"/chat", b"/health"),
        REQUEST.replace(b"/chat", b"/health").replace(b"Version: 13", b"Version: 8"),
        REQUEST.replace(b"/chat", b"/health").replace(b"Upgrade: websocket\r\n", b""),
        b"",
    ],
)
def test_O5_what_asks_for_something_else_or_is_malformed_is_not(head: bytes) -> None:
    assert health_response(head, "/health", None) is None
