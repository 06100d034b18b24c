"""A socket that a service manager hands over: from a stand-in, and from systemd's own tool."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dorrit.process.start.activation import activated_socket
from tests.support.servers import TIMEOUT, until

CHILD = """if True:
    import os, socket, sys
    from dorrit.errors import StartError
    from dorrit.process.start import activation
    if {pid!r} is not None:
        os.environ["LISTEN_PID"] = {pid!r} or str(os.getpid())
    try:
        descriptor = activation.activated_socket()
    except StartError as error:
        print(error, error.status)
    else:
        print(descriptor)
        if descriptor is not None:
            print(activation.path_of(descriptor))
            print(os.get_blocking(descriptor), os.get_inheritable(descriptor))
    print([name for name in os.environ if name.startswith("LISTEN")])
"""


def activated(
    handed: socket.socket | int | None, pid: str | None = "", **variables: str
) -> list[str]:
    """Run a process that is handed a descriptor 3; return what it says."""
    number = handed.fileno() if isinstance(handed, socket.socket) else handed

    def hand_over() -> None:
        if number is None:
            return
        os.dup2(number, 3)
        os.set_inheritable(3, True)

    told = subprocess.run(
        [sys.executable, "-c", CHILD.format(pid=pid)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        close_fds=False,
        preexec_fn=hand_over,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "chat.socket"


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def test_one_listening_socket_is_taken_as_it_is(path: Path) -> None:
    with listening(path) as handed:
        inode = path.stat().st_ino
        told = activated(handed, LISTEN_FDS="1", LISTEN_FDNAMES="chat.socket")
        assert told == ["3", str(path), "False False", "[]"]
        assert path.stat().st_ino == inode


def test_an_abstract_socket_has_a_name_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind(b"\0dorrit-test-%d" % os.getpid())
        handed.listen()
        assert activated(handed, LISTEN_FDS="1")[1] == f"@dorrit-test-{os.getpid()}"


@pytest.mark.parametrize("pid", ["1", "x", "00"])
def test_what_is_meant_for_another_process_is_left_alone(path: Path, pid: str) -> None:
    with listening(path) as handed:
        assert activated(handed, pid, LISTEN_FDS="1") == ["None", "[]"]


def test_without_the_variables_nothing_is_taken(path: Path) -> None:
    with listening(path) as handed:
        assert activated(handed, None) == ["None", "[]"]
        assert activated(handed) == ["None", "[]"]
        assert activated(handed, LISTEN_FDS="0") == ["None", "[]"]


def test_more_than_one_socket_is_an_error_that_names_them(path: Path) -> None:
    with listening(path) as handed:
        told = activated(handed, LISTEN_FDS="2", LISTEN_FDNAMES="chat.socket:other\x1b")
    assert told[0] == (
        "the service manager hands over 2 sockets (chat.socket:other\\x1b): a server listens on "
        "one; leave one ListenStream= in the socket unit 1"
    )
    assert told[1] == "[]"


@pytest.mark.parametrize("count", ["-1", "x", "1 ", "٣", "1" * 5000])
def test_a_number_that_is_none_is_an_error(path: Path, count: str) -> None:
    with listening(path) as handed:
        told = activated(handed, LISTEN_FDS=count)
    assert told[0].startswith("LISTEN_FDS='")
    assert told[0].endswith(" is not a number of descriptors 1")
    assert len(told[0]) < 100
    assert told[1] == "[]"


def refusal(handed: socket.socket | int | None) -> str:
    told = activated(handed, LISTEN_FDS="1")
    assert told[1] == "[]"
    beginning, end = "the service manager hands over descriptor 3, which ", " 1"
    assert told[0].startswith(beginning)
    assert told[0].endswith(end)
    return told[0].removeprefix(beginning).removesuffix(end)


def test_what_is_no_listening_unix_stream_socket_is_refused(path: Path) -> None:
    with path.with_suffix(".file").open("w") as file:
        assert refusal(file.fileno()) == "is not a socket"
    with socket.socket(socket.AF_INET) as handed:
        handed.bind(("127.0.0.1", 0))
        handed.listen()
        assert refusal(handed) == "is not a UNIX-domain socket: ListenStream= must be a path"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as handed:
        handed.bind(str(path))
        expected = "is not a stream socket: use ListenStream= in the socket unit"
        assert refusal(handed) == expected
    first, second = socket.socketpair()
    with first, second:
        assert refusal(first) == "does not listen: the socket unit needs Accept=no"


def test_a_descriptor_that_is_closed_is_an_error() -> None:
    closing = "import os; os.closerange(3, 100)\n"
    told = subprocess.run(
        [sys.executable, "-c", closing + CHILD.format(pid="")],
        env=os.environ | {"LISTEN_FDS": "1"},
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert told.startswith(
        "the service manager hands over descriptor 3, which can't be used: Bad file descriptor 1\n"
    )


def test_systemd_hands_its_socket_over_to_us(path: Path) -> None:
    with path.with_suffix(".out").open("w+") as out:
        manager = subprocess.Popen(
            [
                "systemd-socket-activate", f"--listen={path}", "--fdname=chat", "-E", "PYTHONPATH",
                sys.executable, "-c", CHILD.format(pid=None),
            ],
            stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with socket.socket(socket.AF_UNIX) as client:  # it starts us for the first client
                # Its socket has a name before it listens: who comes in between is refused.
                until(lambda: client.connect_ex(str(path)) == 0, "the socket")
                assert manager.wait(TIMEOUT) == 0
            out.seek(0)
            assert out.read().splitlines() == ["3", str(path), "False False", "[]"]
            assert path.exists()
        finally:
            manager.kill()
            manager.wait()


def test_the_variables_may_be_other_than_those_of_the_process() -> None:
    environment = {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid()), "MINE": "1"}
    assert activated_socket(environment) is None
    assert environment == {"MINE": "1"}
