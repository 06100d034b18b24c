"""What the janitor's program removes, and what it leaves (R27); test_janitor.py has it beside a
server."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.servers import TIMEOUT

PROGRAM = "import sys; from dorrit.process.files.janitor_program import main; main(sys.argv[1:])"


Start = Callable[..., socket.socket]


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Start it for some names in the directory; the server's end of its socket is returned."""
    with ExitStack() as opened:

        def run(*names: str) -> socket.socket:
            ours, theirs = map(opened.enter_context, socket.socketpair())
            ours.settimeout(TIMEOUT)
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            opened.callback(os.close, folder)
            words = ["chat", str(theirs.fileno())]
            for name in names if "always" in names else ("always", *names):
                if name == "always":
                    words.append(name)
                    continue
                status = (directory / name).lstat()
                words += [str(folder), name, str(status.st_dev), str(status.st_ino)]
            subprocess.run(
                [sys.executable, "-c", PROGRAM, *words],
                pass_fds=[theirs.fileno(), folder],
                check=True,
                timeout=TIMEOUT,
            )
            theirs.close()
            assert ours.recv(1) == b"\n"  # it is there
            return ours

        yield run


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def until_gone(ours: socket.socket) -> None:
    ours.shutdown(socket.SHUT_WR)
    assert ours.recv(1) == b""


def test_R27_it_waits_for_the_servers_end_and_removes_its_names(
    directory: Path, start: Start
) -> None:
    for name in ("chat.socket", "chat.pid", "other"):
        (directory / name).touch()
    ours = start("chat.socket", "chat.pid")
    assert files(directory) == {"chat.socket", "chat.pid", "other"}
    until_gone(ours)
    assert files(directory) == {"other"}


def test_R27_what_has_taken_a_names_place_meanwhile_is_left(directory: Path, start: Start) -> None:
    for name in ("first", "second", "third"):
        (directory / name).touch()
    ours = start("first", "second", "third")
    (directory / "another").touch()
    (directory / "another").replace(directory / "first")
    (directory / "second").unlink()
    until_gone(ours)
    assert files(directory) == {"first"}


def test_R27_whatever_the_server_says_is_the_end(directory: Path, start: Start) -> None:
    (directory / "name").touch()
    ours = start("name")
    ours.sendall(b"no end")
    # It leaves what was said unread, which resets the connection.
    with pytest.raises(ConnectionResetError):
        ours.recv(1)
    assert files(directory) == set()


@pytest.mark.parametrize("told", [False, True])
def test_O4_what_a_restart_needs_stays_unless_the_server_ends_in_order(
    directory: Path, start: Start, told: bool
) -> None:
    for name in ("chat.command", "chat.socket"):
        (directory / name).touch()
    ours = start("chat.command", "always", "chat.socket")
    if told:
        ours.send(b".")
    until_gone(ours)
    assert files(directory) == (set() if told else {"chat.command"})
