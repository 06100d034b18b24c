"""The end of a daemon that has thousands of clients (R27)."""

import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, Daemons
from tests.support.descriptors import descriptors
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.servers import TIMEOUT

pytestmark = pytest.mark.root

CLIENTS = 5000
SILENT = 100
"""Of them: clients that don't read, with as much queued for them as may be."""

CLOSE_1001 = b"\x88\x02\x03\xe9"

BOUND = 10.0
"""Seconds that the server gives its clients."""

SERVER = """
    opened = closed = 0
    def ws_init_func():
        global report
        report = os.open(__file__ + ".report", os.O_WRONLY | os.O_CREAT)
    def ws_open_callback(conn, cookie):
        global opened
        opened += 1
        ws_set_data(conn, 0)
    def ws_read_callback(conn, binary, data):
        for _ in range(200):
            ws_write_conn(conn, True, b"x" * 60000)
    def ws_close_callback(conn):
        global closed
        closed += 1
        ws_set_data(conn, ws_get_data(conn) + 1)
        if ws_get_data(conn) != 1:
            os.write(report, b"closed twice")
    def ws_exit_func():
        os.write(report, f"opened {opened} closed {closed}".encode())
"""


@pytest.fixture(autouse=True)
def enough_descriptors() -> Iterator[None]:
    with descriptors(CLIENTS + 200):
        yield


@pytest.fixture
def daemon(either: Daemons) -> Daemon:
    return either(SERVER)


def connect(daemon: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    # One that blocks waits for a place in the backlog; one with a timeout of Python's fails.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(TIMEOUT), 0))
    client.connect(str(daemon.path))
    client.settimeout(TIMEOUT)
    client.sendall(REQUEST)
    return client


def accepted(clients: list[socket.socket]) -> None:
    for client in clients:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1000)
        assert head.startswith(b"HTTP/1.1 101 ")


def answered(clients: list[socket.socket]) -> int:
    """Read from all until the end, and answer close frames; return how many were told 1001."""
    told = 0
    received = dict.fromkeys(clients, b"")
    with selectors.DefaultSelector() as selector:
        for each in clients:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(TIMEOUT)
            assert ready, "the server tells them nothing"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                client = key.fileobj
                data = client.recv(100)
                received[client] += data
                if received[client] == CLOSE_1001 and data:
                    told += 1
                    client.send(close_frame(1001))
                if not data:
                    selector.unregister(client)
    return told


def test_R27_every_client_is_told_and_every_close_callback_runs_once(daemon: Daemon) -> None:
    daemon.start("-m", CLIENTS + 100, "-l", daemon.path)
    clients = [connect(daemon) for _ in range(CLIENTS)]
    unfinished = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    try:
        accepted(clients)
        for client in unfinished:  # in the middle of a handshake
            client.connect(str(daemon.path))
            client.sendall(REQUEST[:20])
        silent, readers = clients[:SILENT], clients[SILENT:]
        for client in silent:
            client.sendall(frame(TEXT, b"flood"))
            assert client.recv(1, socket.MSG_PEEK)
        begin = time.monotonic()
        daemon.kill(signal.SIGTERM)
        assert answered(readers) == len(readers)
        assert daemon.wait() == 0
        took = time.monotonic() - begin
    finally:
        for client in clients + unfinished:
            client.close()
    report = Path(f"{daemon.file}.report").read_text()
    assert report == f"opened {CLIENTS} closed {CLIENTS}"
    assert daemon.files == set()
    assert took < TIMEOUT  # not until who does not read reads


def test_R27_a_second_signal_does_not_wait_for_those_who_do_not_read(daemon: Daemon) -> None:
    daemon.start()
    silent = connect(daemon)
    reader = connect(daemon)
    accepted([silent, reader])
    silent.sendall(frame(TEXT, b"flood"))
    assert silent.recv(1, socket.MSG_PEEK)
    daemon.kill(signal.SIGTERM)
    assert answered([reader]) == 1  # so it is stopping, and has not ended
    os.kill(daemon.pid, 0)
    begin = time.monotonic()
    daemon.kill(signal.SIGTERM)
    assert daemon.wait() == 0
    assert time.monotonic() - begin < BOUND
    assert Path(f"{daemon.file}.report").read_text() == "opened 2 closed 2"
    assert daemon.files == set()
    silent.close()
    reader.close()
