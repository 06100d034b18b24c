"""How connections end, as the other side sees it through each of the fronts.

A close frame is worth nothing if a reset overtakes it, so most of these wait for the code and for
the orderly end behind it.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.integration.clients import page_address
from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import DEADLINE
from tests.integration.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    RawClient,
    frame,
)

TOO_LARGE = 65_536
"""One byte more than the default buffer size less 5 (R5, R30)."""

OPEN = """
(url) => new Promise((resolve, reject) => {
  const socket = new WebSocket(url);
  const answers = [];
  const closed = new Promise((done) => {
    socket.onclose = ({code, wasClean}) => done([code, wasClean]);
  });
  socket.onmessage = ({data}) => answers.push(data);
  socket.onopen = () => resolve();
  socket.onerror = () => reject(new Error("not connected"));
  globalThis.probe = {socket, answers, closed};
})
"""


def open_in_browser(page: Page, url: str) -> None:
    """Have a page open the WebSocket; it is ``probe.socket`` from then on."""
    page.goto(page_address(url))
    page.evaluate(OPEN, url)


def closed_in_browser(page: Page) -> tuple[int, bool]:
    """Return the code and the ``wasClean`` of the page's close event, when it comes."""
    code, was_clean = page.evaluate("probe.closed")
    return code, was_clean


def test_R5_browser_that_closes_sees_a_clean_close(page: Page, echo_url: str) -> None:
    open_in_browser(page, echo_url)

    page.evaluate("probe.socket.close(1000, 'done')")

    assert closed_in_browser(page) == (1000, True)


def test_R5_browser_that_closes_without_a_code_sees_a_clean_close(
    page: Page, echo_url: str
) -> None:
    open_in_browser(page, echo_url)

    page.evaluate("probe.socket.close()")

    # RFC 6455 section 7.1.5: without a code in the close frame it "is considered to be 1005".
    assert closed_in_browser(page) == (1005, True)


@pytest.mark.parametrize("size", [TOO_LARGE, 100_000])
@pytest.mark.parametrize("message", ["'x'.repeat(size)", "new Uint8Array(size)"])
def test_R5_browser_that_sends_too_large_a_message_is_told_so(
    page: Page, echo_url: str, message: str, size: int
) -> None:
    open_in_browser(page, echo_url)

    page.evaluate(f"(size) => probe.socket.send({message})", size)

    assert closed_in_browser(page) == (1009, True)


@pytest.mark.parametrize("size", [1 << 20, 16 << 20])
def test_R5_browser_that_sends_a_message_in_fragments_is_told_so(
    page: Page, echo_url: str, size: int
) -> None:
    open_in_browser(page, echo_url)

    page.evaluate("(size) => probe.socket.send(new Uint8Array(size))", size)

    # How large a fragment is, Chromium decides. It answers the close frame at once and sends no
    # more of the message; then it calls the end unclean, since not all was sent, however orderly it
    # was. A reset would be 1006.
    code, _ = closed_in_browser(page)
    assert code in {1003, 1009}


def test_R27_browser_sees_that_the_server_stops(page: Page, directory: Path) -> None:
    socket_path = directory / "echo.socket"
    with nginx_in_front_of(socket_path) as nginx:
        with dorrit_serve(EXAMPLES / "echo.py", socket_path):
            open_in_browser(page, nginx.url)

        assert closed_in_browser(page) == (1001, True)


@pytest.mark.parametrize("size", [TOO_LARGE, 1 << 20, 16 << 20])
def test_R5_library_that_sends_too_large_a_message_is_told_so(echo_url: str, size: int) -> None:
    def send_and_receive(connection: ClientConnection) -> None:
        connection.send(bytes(size))
        connection.recv(DEADLINE)

    with (
        connect(echo_url, proxy=None, compression=None, open_timeout=DEADLINE) as connection,
        pytest.raises(ConnectionClosedError) as closed,
    ):
        send_and_receive(connection)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_R5_client_that_is_told_while_it_still_sends_can_finish_and_say_goodbye(
    echo_url: str,
) -> None:
    too_large = frame(FIN | BINARY, bytes(TOO_LARGE))
    with RawClient(echo_url) as client:
        assert client.request() == 101
        client.send(too_large[:1000])
        assert client.receive_close_code() == 1009

        # A web server in front takes the end of what dorrit sends for the end of the connection,
        # and then resets a client that still sends: clients lose the close frame over that.
        client.send(too_large[1000:])
        client.send(frame(FIN | CLOSE, b"\x03\xf1"))

        client.receive_end()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(FIN | TEXT, b"\xff"), 1007, id="text-that-is-not-UTF-8"),
        pytest.param(frame(FIN | TEXT, "😀".encode()[:3]), 1007, id="text-cut-within-a-character"),
        pytest.param(frame(TEXT, b"frag"), 1003, id="first-fragment"),
        pytest.param(frame(FIN | CONTINUATION, b"ment"), 1002, id="continuation"),
        pytest.param(frame(FIN | TEXT, b"open", masked=False), 1002, id="no-mask"),
        pytest.param(frame(FIN | RSV1 | TEXT, b"rsv"), 1002, id="reserved-bit"),
        pytest.param(frame(FIN | 0x3, b"what"), 1002, id="reserved-opcode"),
        pytest.param(frame(FIN | PING, bytes(126)), 1002, id="long-ping"),
        pytest.param(frame(PING, b""), 1002, id="fragmented-ping"),
        pytest.param(frame(FIN | CLOSE, b"\x03"), 1002, id="close-with-half-a-code"),
        pytest.param(frame(FIN | CLOSE, b"\x03\xed"), 1002, id="close-with-1005"),
        pytest.param(frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007, id="close-reason-not-UTF-8"),
        pytest.param(frame(FIN | BINARY, bytes(TOO_LARGE)), 1009, id="too-large"),
    ],
)
def test_R5_client_that_breaks_the_rules_gets_a_close_frame_and_an_orderly_end(
    echo_url: str, sent: bytes, code: int
) -> None:
    with RawClient(echo_url) as client:
        assert client.request() == 101

        client.send(sent)

        assert client.receive_close_code() == code
        client.receive_end()


def test_R5_close_frame_is_answered_and_the_connection_closed(echo_url: str) -> None:
    with RawClient(echo_url) as client:
        assert client.request() == 101

        client.send(frame(FIN | CLOSE, b"\x0f\xa0bye"))

        first_byte, payload = client.receive_frame()
        assert (first_byte, payload[:2]) == (FIN | CLOSE, b"\x0f\xa0")
        client.receive_end()


def test_R6_messages_sent_before_the_close_are_answered_before_it(echo_url: str) -> None:
    messages = [str(number).encode() for number in range(100)]
    with RawClient(echo_url) as client:
        assert client.request() == 101

        client.send(b"".join(frame(FIN | TEXT, message) for message in messages))
        client.send(frame(FIN | CLOSE, b"\x03\xe8"))

        assert [client.receive_frame() for _ in messages] == [
            (FIN | TEXT, message) for message in messages
        ]
        assert client.receive_close_code() == 1000
        client.receive_end()


def test_R4_ping_is_answered_with_its_payload(echo_url: str) -> None:
    with RawClient(echo_url) as client:
        assert client.request() == 101

        client.send(frame(FIN | PING, b"still there?"))

        assert client.receive_frame() == (FIN | PONG, b"still there?")


def test_R2_frames_sent_together_with_the_request_are_answered(echo_url: str) -> None:
    with RawClient(echo_url) as client:
        early = frame(FIN | TEXT, b"early") + frame(FIN | BINARY, b"bird")
        assert client.request(body=early) == 101

        assert client.receive_frame() == (FIN | TEXT, b"early")
        assert client.receive_frame() == (FIN | BINARY, b"bird")
