"""The bytes of an upgraded connection: R1, that what a web server forwards arrives unchanged."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from dorrit.dev.splice import splice

TIMEOUT = 60.0


class Ends:
    """A client and a server with a splice between them that runs in a thread."""

    def __init__(self, **options: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self._client_side, _address = listener.accept()
        self.server, self._server_side = socket.socketpair()
        self.client.settimeout(TIMEOUT)
        self.server.settimeout(TIMEOUT)
        self.thread = threading.Thread(target=self._run, kwargs=options)
        self.thread.start()

    def _run(self, **options: object) -> None:
        with self._client_side, self._server_side:
            splice(self._client_side, self._server_side, **options)  # type: ignore[arg-type]

    def is_over(self) -> bool:
        self.thread.join(TIMEOUT)
        return not self.thread.is_alive()

    def close(self) -> None:
        self.client.close()
        self.server.close()
        self.thread.join(TIMEOUT)


@contextlib.contextmanager
def spliced(**options: object) -> Iterator[Ends]:
    ends = Ends(**options)
    try:
        yield ends
    finally:
        ends.close()


def read_all(end: socket.socket) -> bytes:
    received = bytearray()
    while data := end.recv(65536):
        received += data
    return bytes(received)


def pattern(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


def test_R1_bytes_arrive_unchanged_both_ways() -> None:
    sent = pattern(3_000_000)
    with spliced() as ends:
        for source, sink in ((ends.client, ends.server), (ends.server, ends.client)):
            writer = threading.Thread(target=source.sendall, args=(sent,))
            writer.start()
            received = bytearray()
            while len(received) < len(sent):
                received += sink.recv(65536)
            writer.join()
            assert received == sent


def test_R1_what_was_read_before_comes_first() -> None:
    with spliced(to_server=b"head") as ends:
        ends.client.sendall(b" and more")
        ends.client.shutdown(socket.SHUT_WR)
        assert read_all(ends.server) == b"head and more"


def test_R1_the_end_of_one_way_leaves_the_other_open() -> None:
    with spliced() as ends:
        ends.client.sendall(b"the last words")
        ends.client.shutdown(socket.SHUT_WR)
        assert read_all(ends.server) == b"the last words"
        ends.server.sendall(b"the answer to them")
        ends.server.close()
        assert read_all(ends.client) == b"the answer to them"
        assert ends.is_over()


def test_R1_the_servers_end_leaves_the_client_time_to_close() -> None:
    with spliced() as ends:
        ends.server.sendall(b"close frame")
        ends.server.shutdown(socket.SHUT_WR)
        assert read_all(ends.client) == b"close frame"
        ends.client.sendall(b"its answer")
        ends.client.close()
        assert read_all(ends.server) == b"its answer"
        assert ends.is_over()


def test_R1_a_server_that_closes_with_unread_input_is_still_heard_to_its_end() -> None:
    last_bytes = pattern(4_000_000)
    with spliced() as ends:
        flood = threading.Thread(target=_send_until_refused, args=(ends.client,))
        flood.start()
        # The kernel need not take all of it before the client has read some.
        answer = threading.Thread(target=_send_and_close, args=(ends.server, last_bytes))
        answer.start()
        received = read_all(ends.client)
        ends.client.shutdown(socket.SHUT_RDWR)
        flood.join()
        answer.join()
        assert received == last_bytes
        assert ends.is_over()


def _send_until_refused(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            end.sendall(bytes(65536))


def _send_and_close(end: socket.socket, data: bytes) -> None:
    end.sendall(data)
    end.close()


def test_R1_a_client_that_does_not_read_stops_the_server() -> None:
    size = 128_000_000
    with spliced() as ends:
        ends.server.setblocking(False)
        sent = 0
        while sent < size and select.select([], [ends.server], [], 1.0)[1]:
            sent += ends.server.send(bytes(65536))
        assert sent < size
        # And it goes on when the client does.
        ends.server.settimeout(TIMEOUT)
        ends.server.shutdown(socket.SHUT_WR)
        assert len(read_all(ends.client)) == sent


def test_R1_a_server_that_does_not_read_stops_the_client() -> None:
    size = 128_000_000
    with spliced() as ends:
        ends.client.setblocking(False)
        sent = 0
        while sent < size and select.select([], [ends.client], [], 1.0)[1]:
            sent += ends.client.send(bytes(65536))
        assert sent < size
        ends.client.settimeout(TIMEOUT)
        ends.client.shutdown(socket.SHUT_WR)
        assert len(read_all(ends.server)) == sent


def test_R1_a_reset_of_the_client_ends_both() -> None:
    with spliced() as ends:
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ends.client.close()
        assert read_all(ends.server) == b""
        assert ends.is_over()


def test_R1_a_reset_of_the_client_ends_a_server_that_is_being_held_up() -> None:
    with spliced() as ends:
        ends.server.setblocking(False)
        while select.select([], [ends.server], [], 0.5)[1]:
            ends.server.send(bytes(65536))
        ends.server.settimeout(TIMEOUT)
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ends.client.close()
        # A stream whose other end closed with unread input is a reset one.
        with contextlib.suppress(ConnectionResetError):
            assert read_all(ends.server) == b""
        assert ends.is_over()


@pytest.mark.parametrize("unread", [b"", b"request"])
def test_R1_a_server_that_closes_without_a_byte_is_spoken_for(unread: bytes) -> None:
    with spliced(if_silent=b"no answer") as ends:
        if unread:
            ends.client.sendall(unread)
            assert select.select([ends.server], [], [], TIMEOUT)[0]
        ends.server.close()
        assert read_all(ends.client) == b"no answer"


def test_R1_a_server_that_said_something_is_not_spoken_for() -> None:
    with spliced(if_silent=b"no answer") as ends:
        ends.server.sendall(b"x")
        ends.server.close()
        assert read_all(ends.client) == b"x"


def test_R1_a_client_that_never_closes_is_left_after_a_while() -> None:
    with spliced(linger=0.2) as ends:
        ends.server.sendall(b"bye")
        ends.server.shutdown(socket.SHUT_WR)
        assert ends.is_over()
        assert read_all(ends.client) == b"bye"


def test_what_comes_for_a_client_that_has_reset_the_connection_ends_it() -> None:
    with spliced() as ends:
        ends.client.shutdown(socket.SHUT_WR)
        assert ends.server.recv(1) == b""  # from now on the client is only written to
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends.client.close()
        ends.server.sendall(b"too late")
        assert ends.is_over()
