"""Connections whose record in the ledger is damaged, or all if nobody can read it, are ended."""

import os
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from dorrit.drive.carried import after_crash, carry_in
from dorrit.drive.dismissing import dismiss_carried
from dorrit.process.exec.descriptors import inheritable_descriptors
from dorrit.process.exec.handover import Handover
from tests.support.carrying import CarryingHarness, ledger
from tests.support.forging import HEADER, UNIT
from tests.support.frames import TEXT, frame
from tests.support.harness import Client, LogRecords
from tests.support.reloading import Reloaded
from tests.support.servers import Servers

DESCRIPTOR = 32
"""Where a record has it, in bytes from its beginning."""


class Scene:
    """An image that has carried out three connections, and the next one.

    Attributes:
        clients: Theirs.
        handover: What the next image gets.
        next: Its engine.
    """

    def __init__(self, file: int) -> None:
        before = CarryingHarness()
        self.clients = [before.open() for _ in range(3)]
        made = Handover(name="name", socket="/run/socket", listener=0)
        self.handover = made.carrying(file, before.engine.carry_out(file))
        self.next = CarryingHarness()
        self.next.clients, before.clients = before.clients, []
        for client in self.clients:
            client.harness = self.next
        before.close()

    def is_served(self, client: Client) -> bool:
        """Whether a message of a client comes; if not, it must have been told that it is over."""
        client.receive()
        if client.ended:
            return False
        self.next.messages.clear()
        client.send(frame(TEXT, b"still there"))
        self.next.turn(3)
        assert self.next.messages, "the client waits for nobody"
        return True


@pytest.fixture
def file() -> Iterator[int]:
    with ledger() as made:
        yield made


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x01\x02\x00\x00"])
def test_L8_who_is_lost_is_ended_though_the_record_does_not_say_who_it_was(
    file: int, damage: bytes
) -> None:
    scene = Scene(file)
    os.pwrite(file, damage, HEADER + UNIT + DESCRIPTOR)
    assert carry_in(scene.next.engine, scene.handover) == (2, 1)
    assert [scene.is_served(client) for client in scene.clients] == [True, False, True]
    scene.next.close()


def test_L8_all_are_served_whose_records_are_whole(file: int) -> None:
    scene = Scene(file)
    assert carry_in(scene.next.engine, scene.handover) == (3, 0)
    assert [scene.is_served(client) for client in scene.clients] == [True] * 3
    scene.next.close()


def test_L8_who_can_not_be_told_to_go_is_ended(file: int, log: LogRecords) -> None:
    scene = Scene(file)
    os.ftruncate(file, 100)
    dismiss_carried(scene.handover, 1012, 1)
    assert "the connections can't be told to go: it is damaged" in log.text
    assert [scene.is_served(client) for client in scene.clients] == [False] * 3
    scene.next.close()


def test_nobody_is_told_to_go_if_nobody_was_carried_out(log: LogRecords) -> None:
    dismiss_carried(Handover(name="name", socket="/run/socket", listener=0), 1012, 1)
    assert log.text == ""


def test_L8_all_are_ended_if_nobody_can_read_the_ledger(file: int) -> None:
    scene = Scene(file)
    os.ftruncate(file, 100)
    with pytest.raises(ValueError, match="damaged"):
        carry_in(scene.next.engine, scene.handover)
    assert [scene.is_served(client) for client in scene.clients] == [False] * 3
    scene.next.close()


def test_L8_all_that_a_crash_has_kept_open_is_ended_if_nobody_can_read_the_ledger() -> None:
    kept, client = socket.socketpair()
    users, other = socket.socketpair()
    with client, users, other, CarryingHarness() as harness:
        for inherited in (kept, users):
            inherited.set_inheritable(True)
        unreadable = os.open("/", os.O_RDONLY)
        made = Handover(
            name="name",
            socket="/run/socket",
            listener=0,
            signal=signal.SIGSEGV,
            untouched=frozenset({users.fileno(), *inheritable_descriptors()} - {kept.fileno()}),
        )
        handover = after_crash(made.carrying(unreadable, ()))
        assert handover.carried == (kept.detach(),)
        with pytest.raises(OSError, match="directory"):
            carry_in(harness.engine, handover)
        assert client.recv(1) == b"", "its end"
        other.send(b"there?")
        assert users.recv(10) == b"there?"
        os.close(unreadable)


def test_L8_what_is_no_socket_any_more_is_left_alone(file: int) -> None:
    scene = Scene(file)
    os.ftruncate(file, 100)
    gone, other, _ = scene.handover.carried
    os.close(gone)
    reading, writing = os.pipe()
    os.dup2(writing, other)
    with pytest.raises(ValueError, match="damaged"):
        carry_in(scene.next.engine, scene.handover)
    assert os.write(other, b"x") == 1
    for descriptor in (reading, writing, other):
        os.close(descriptor)
    scene.next.close()


if sys.platform == "linux":
    CUTTING = """
    def cut():
        results = []
        for name in os.listdir("/proc/self/fd"):
            path = "/proc/self/fd/" + name
            if os.path.exists(path) and "memfd:dorrit-connections" in os.readlink(path):
                try:
                    os.ftruncate(int(name), 0)
                    results.append("cut")
                except PermissionError:
                    results.append("whole")
        return " ".join(results)

    def start():
        say("start", cut())

    def said(conn, text):
        conn.send(cut())
    """

    def test_L8_neither_ledger_can_be_cut_by_the_servers_code(servers: Servers) -> None:
        reloaded = Reloaded(servers)
        run = reloaded.start(CUTTING)
        client = servers.connect()
        assert client.ask("a") == "whole"  # the one that is kept while the server serves
        reloaded.write(2, CUTTING)
        assert reloaded.reload().process.returncode == 0
        run.until_said("start whole")  # the one that the last image has left
        assert client.ask("a") == "whole"
        assert servers.stop(run) == 0
