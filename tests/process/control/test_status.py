"""The status socket, from both sides."""

import contextlib
import errno
import json
import os
import resource
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dorrit.errors import StartError
from dorrit.process.control.status import ANSWER_MAX, Status, decoded, encoded, shortened
from dorrit.process.control.status_socket import ANSWERS_AT_ONCE, StatusSocket
from dorrit.process.files.paths import PATH_MAX, status_path
from dorrit.process.running import status_client
from dorrit.process.running.status_client import (
    NoPermissionError,
    NotRunningError,
    StatusError,
    ask,
    query,
)
from tests.support import proc
from tests.support.children import NOBODY, run_python
from tests.support.descriptors import descriptors
from tests.support.harness import LogRecords


@pytest.fixture
def listening(directory: Path) -> str:
    return str(directory / "echo.socket")


@pytest.fixture
def path(listening: str) -> str:
    return status_path(listening)


@pytest.fixture
def status(listening: str) -> Status:
    return Status(
        name="echo", pid=os.getpid(), user="www", group="www", socket=listening,
        started=1_700_000_000.25, connections=3, restarts=1, version="1.2.3",
    )  # fmt: skip


@pytest.fixture
def server(path: str, status: Status) -> Iterator[StatusSocket]:
    with StatusSocket(path) as made:
        made.listen(lambda: status)
        yield made


@contextlib.contextmanager
def answering(server: StatusSocket) -> Iterator[None]:
    """Have the server answer in a thread, as the loop of a server does it."""
    over = threading.Event()

    def turn() -> None:
        while not over.is_set():
            server.answer()
            time.sleep(0.001)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(path)
    return made


def read_all(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(4096), b""))


# The path and the line


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        ("/var/run/echo.socket", "/var/run/echo.status"),
        ("/tmp/a.b.socket", "/tmp/a.b.status"),
        ("/tmp/echo.sock", "/tmp/echo.sock.status"),
        ("/tmp/x.y/echo", "/tmp/x.y/echo.status"),
    ],
)
def test_it_stands_beside_the_listening_socket(listening: str, expected: str) -> None:
    assert status_path(listening) == expected


def test_it_is_one_line_of_json_with_these_keys(status: Status) -> None:
    line = encoded(status)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert list(json.loads(line)) == [
        "name", "pid", "user", "group", "socket", "started", "connections", "restarts", "version",
        "reload_attempts", "reload_state", "reload_reason", "reloads", "last_restart", "carried",
        "carried_in", "lost", "unrecorded",
    ]  # fmt: skip
    assert decoded(line) == status


def test_the_longest_names_and_paths_fit(status: Status) -> None:
    longest = status._replace(name="\U0001f600" * 63, socket="/" + "\U0001f600" * 26, user="u" * 32)
    assert decoded(encoded(longest)) == longest


def altered(status: Status, **values: Any) -> bytes:
    content = json.loads(encoded(status)) | values
    return json.dumps({key: value for key, value in content.items() if value != "gone"}).encode()


@pytest.mark.parametrize(
    "values",
    [
        {"pid": 0}, {"pid": -1}, {"pid": 2**31}, {"pid": "1"}, {"pid": True}, {"pid": 1.0},
        {"pid": None}, {"pid": "gone"},
        {"name": ""}, {"name": "a/b"}, {"name": "a\n"}, {"name": "\x1b[2J"}, {"name": 5},
        {"name": "\ud800"}, {"name": "x" * 256}, {"name": "\u202e"},
        {"user": None}, {"group": []},
        {"socket": "relative"}, {"socket": "gone"},
        {"started": float("nan")}, {"started": float("inf")}, {"started": -1}, {"started": 1e12},
        {"connections": -1}, {"connections": 1.5}, {"connections": 2**60}, {"restarts": {}},
        {"version": "gone"},
        {"reload_attempts": -1}, {"reload_attempts": "1"}, {"reload_state": "a\n"},
        {"reload_reason": "x" * 256}, {"reload_reason": 5}, {"carried_in": float("nan")},
        {"last_restart": "a\n"}, {"last_restart": 1}, {"lost": -1}, {"unrecorded": 0.5},
    ],
)  # fmt: skip
def test_what_cannot_be_is_no_status(status: Status, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(values))} |^the (name|path)"):
        decoded(altered(status, **values) + b"\n")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"{}", "its end is missing"),
        (b"HTTP/1.1 400 Bad Request\r\n", "it is not JSON"),
        (b"\xff\n", "it is not JSON"),
        (b"[" * 2000 + b"\n", "it is not JSON"),
        (b"1" * 2000 + b"\n", "it is not a JSON object"),
        (b"[]\n", "it is not a JSON object"),
        (b"null\n", "it is not a JSON object"),
        (b"{}\n", "name is missing or wrong"),
        (b" " * ANSWER_MAX + b"\n", "it has more than"),
    ],
)
def test_what_is_no_line_of_json_is_no_status(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        decoded(data)


def test_what_a_newer_server_says_besides_is_ignored(status: Status) -> None:
    assert decoded(altered(status, more=["of", "this"]) + b"\n") == status


def test_L1_an_older_server_says_nothing_of_reloads(status: Status) -> None:
    keys = (
        *("reload_attempts", "reload_state", "reload_reason", "reloads"),
        *("last_restart", "carried", "carried_in", "lost", "unrecorded"),
    )
    older = altered(status, **dict.fromkeys(keys, "gone")) + b"\n"
    assert decoded(older) == status
    assert status.reload_attempts is None


def test_L1_what_has_come_of_reloads_is_told(status: Status) -> None:
    told = status._replace(
        reload_attempts=3, reload_state="refused", reload_reason="SyntaxError: '('", reloads=2,
        last_restart="crash", carried=1000, carried_in=0.125, lost=3, unrecorded=4,
    )  # fmt: skip
    assert decoded(encoded(told)) == told


def test_L1_a_reason_that_does_not_fit_is_left_to_the_log(status: Status) -> None:
    longest = status._replace(
        name="\U0001f600" * 63, socket="/" + "\U0001f600" * 26, reload_attempts=1,
        reload_reason="\U0001f600" * 255,
    )  # fmt: skip
    assert decoded(encoded(longest)) == longest._replace(reload_reason="see the log")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand a\x1b[2J", "two lines and a [2J"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 252 + "..."),
        ("\ud800", ""),
    ],
)
def test_L1_a_text_is_one_printable_line_of_bounded_length(text: str, line: str) -> None:
    assert shortened(text) == line


# The socket


def test_a_caller_gets_one_line_and_the_end(server: StatusSocket, status: Status) -> None:
    client = connected(server.path)
    server.answer()
    assert read_all(client) == encoded(status)


def test_query_returns_what_the_server_said(
    server: StatusSocket, path: str, status: Status
) -> None:
    with answering(server):
        assert query(path) == status
        answered, process = ask(path)
        with process:
            assert answered == status
            assert process.pid == os.getpid()
            assert not process.wait(0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_its_owner_may_connect_whatever_the_umask(path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        with StatusSocket(path):
            assert stat.filemode(os.lstat(path).st_mode) == "srw-------"
            assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert not os.path.lexists(path)


def test_it_was_never_wider(path: str) -> None:
    told = run_python(
        """
        from dorrit.process.control.status_socket import StatusSocket

        def watch(event, arguments):
            if event == "socket.bind":
                with open("/proc/self/status") as status:
                    print(event, [line.split()[1] for line in status if "Umask" in line][0])
            elif event in ("os.chmod", "os.rename", "os.link"):
                if not str(arguments[0]).startswith("/tmp/dorrit-coverage-"):
                    print(event)

        os.umask(0)
        sys.addaudithook(watch)
        StatusSocket(sys.argv[1]).close()
        """,
        path,
    )
    assert told == "socket.bind 0177\n"


@pytest.mark.root
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o755, 0o2755])
def test_root_gives_it_to_the_servers_user(path: str, umask: int, mode: int) -> None:
    directory = Path(path).parent
    os.chown(directory, -1, 12345)
    directory.chmod(mode)  # one that hands on its group, too
    before = os.umask(umask)
    try:
        with StatusSocket(path, NOBODY, NOBODY):
            found = os.lstat(path)
    finally:
        os.umask(before)
    assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)
    assert stat.filemode(found.st_mode) == "srw-------"


def test_its_descriptor_does_not_block_and_is_not_inherited(server: StatusSocket) -> None:
    assert not os.get_blocking(server.descriptor)
    assert not os.get_inheritable(server.descriptor)
    server.answer()  # nobody waits


def test_nobody_can_connect_before_it_listens(path: str) -> None:
    with StatusSocket(path) as server:
        server.answer()
        with pytest.raises(NotRunningError):
            query(path)


def test_what_a_caller_sends_is_not_read(server: StatusSocket, status: Status) -> None:
    client = connected(server.path)
    client.sendall(b"stop\n")
    server.answer()
    answer = b""
    with client, contextlib.suppress(ConnectionResetError):  # it was closed with this unread
        answer = client.recv(4096)
    assert answer in {b"", encoded(status)}
    client = connected(server.path)
    server.answer()
    assert read_all(client) == encoded(status)


def test_a_caller_that_has_gone_does_no_harm(server: StatusSocket, status: Status) -> None:
    for _ in range(3):
        gone = connected(server.path)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    client = connected(server.path)
    server.answer()
    assert read_all(client) == encoded(status)


def test_many_callers_are_answered_a_few_at_a_time(server: StatusSocket) -> None:
    clients = [connected(server.path) for _ in range(ANSWERS_AT_ONCE + 1)]
    server.answer()
    clients[-1].setblocking(False)
    with pytest.raises(BlockingIOError):
        clients[-1].recv(1)
    clients[-1].settimeout(20)
    server.answer()
    assert all(read_all(client).endswith(b"}\n") for client in clients)


def test_callers_that_find_no_room_in_the_backlog_wait(server: StatusSocket, path: str) -> None:
    # Linux has at most 4096 wait, unless net.core.somaxconn says otherwise.
    with contextlib.ExitStack() as ends:
        ends.enter_context(descriptors(5000))
        with contextlib.suppress(BlockingIOError):
            while True:
                client = ends.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
        with pytest.raises(StatusError, match=r": no answer within 0\.1 seconds$"):
            query(path, timeout=0.1)
        with answering(server):
            assert query(path).name == "echo"


def test_without_descriptors_callers_are_answered_one_by_one(
    server: StatusSocket, status: Status
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [connected(server.path) for _ in range(3)]
    # What other tests have left open, until it is collected, is not to be in the way.
    highest = max(proc.descriptors(os.getpid()))
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 5, before[1]))
    try:
        with contextlib.suppress(OSError):  # until there is none left
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        assert taken
        for _ in range(2):
            server.answer()
        os.close(taken.pop())
        server.answer()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [read_all(client) for client in clients] == [encoded(status)] * 3


def test_a_server_that_cannot_describe_itself_logs_that_and_goes_on(
    path: str, status: Status, log: LogRecords
) -> None:
    answers: list[Status | None] = [status, None]

    def describe() -> Status:
        answer = answers.pop()
        assert answer is not None
        return answer

    with StatusSocket(path) as server:
        server.listen(describe)
        first = connected(path)
        server.answer()
        assert read_all(first) == b""
        assert "the status can't be told" in log.text
        second = connected(path)
        server.answer()
        assert read_all(second) == encoded(status)


# What is in its place already


def leave_stale_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)


def test_a_socket_that_was_left_is_replaced(path: str) -> None:
    leave_stale_socket(path)
    with StatusSocket(path) as server:
        server.listen(lambda: pytest.fail("nobody asks"))
        connected(path).close()


def make_link(path: str) -> None:
    leave_stale_socket(path + "2")
    Path(path).symlink_to(path + "2")


def make_file(path: str) -> None:
    Path(path).write_text("precious")


@pytest.mark.parametrize("make", [make_file, make_link, os.mkdir, os.mkfifo])
def test_what_is_no_socket_is_left_alone(path: str, make: Callable[[str], None]) -> None:
    make(path)
    before = os.lstat(path)
    with pytest.raises(StartError, match=r"there is a .*, not a socket; it was left as it is$"):
        StatusSocket(path)
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode, after.st_size) == (
        before.st_ino, before.st_mode, before.st_size,
    )  # fmt: skip


def test_a_socket_on_which_somebody_answers_is_left_alone(server: StatusSocket) -> None:
    inode = os.lstat(server.path).st_ino
    with pytest.raises(StartError, match="a server answers there; stop it first"):
        StatusSocket(server.path)
    assert os.lstat(server.path).st_ino == inode


def test_a_path_that_is_too_long_is_an_error(directory: Path) -> None:
    path = str(directory / ("x" * PATH_MAX))
    with pytest.raises(StartError, match="too long for a UNIX-domain socket"):
        StatusSocket(path)
    with pytest.raises(StartError, match="too long for a UNIX-domain socket"):
        query(path)


def test_closing_leaves_what_is_somebody_elses(path: str, status: Status) -> None:
    server = StatusSocket(path)
    Path(path).unlink()
    make_file(path)
    server.close()
    server.close()
    assert Path(path).read_text() == "precious"


def test_a_failure_leaves_no_descriptor_and_no_name(directory: Path) -> None:
    def descriptors() -> set[str]:
        return {entry.name for entry in Path("/proc/self/fd").iterdir()}

    before = descriptors()
    with pytest.raises(StartError, match="No such file or directory"):
        StatusSocket(str(directory / "missing" / "x.status"))
    told = run_python(
        """
        from dorrit.process.control.status_socket import StatusSocket
        become_nobody()
        try:
            StatusSocket(sys.argv[1], 0, 0)     # a user that it can't be given to
        except StartError as error:
            print(error)
        """,
        make_open(directory / "open") / "x.status",
    )
    place = directory / "open"
    assert told == (
        f"{place}/x.status: the socket can't be given to user 0 and group 0: "
        "Operation not permitted\n"
    )
    assert list((directory / "open").iterdir()) == []
    assert descriptors() == before


def make_open(directory: Path) -> Path:
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


# The next image


def test_R29_the_next_image_goes_on_with_it(path: str, status: Status) -> None:
    first = StatusSocket(path)
    first.listen(lambda: status)
    waiting = connected(path)
    adopted = StatusSocket.adopt(os.dup(first.descriptor), path)
    adopted.listen(lambda: status)
    assert not os.get_inheritable(adopted.descriptor)
    adopted.answer()
    assert read_all(waiting) == encoded(status)
    adopted.close()
    assert not os.path.lexists(path)
    first.close()


def test_R29_another_descriptor_is_not_taken_for_it(path: str, server: StatusSocket) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        with pytest.raises(StartError, match=f"descriptor {other.fileno()} is not the status"):
            StatusSocket.adopt(other.fileno(), path)
        other.getsockname()  # still open
    with pytest.raises(StartError, match="the status socket is lost: "):
        StatusSocket.adopt(12345, path)


# The client


def test_no_socket_there_is_not_running(path: str) -> None:
    with pytest.raises(NotRunningError) as raised:
        query(path)
    assert (raised.value.status, raised.value.is_left) == (3, False)
    assert str(raised.value) == f"{path}: no server runs there"


def test_a_socket_that_was_left_is_not_running_either_but_says_so(path: str) -> None:
    leave_stale_socket(path)
    with pytest.raises(NotRunningError) as raised:
        query(path)
    assert raised.value.is_left


@pytest.mark.root
def test_another_user_has_no_permission(server: StatusSocket, path: str) -> None:
    told = run_python(
        """
        from dorrit.process.running.status_client import query
        become_nobody()
        try:
            query(sys.argv[1])
        except StartError as error:
            print(type(error).__name__, error.status, error)
        """,
        path,
    )
    assert told == (
        f"NoPermissionError 4 {path}: permission denied: only the server's user and root may ask\n"
    )
    assert issubclass(NoPermissionError, StatusError)


def test_a_server_that_does_not_answer_in_time_is_unknown(server: StatusSocket, path: str) -> None:
    begin = time.monotonic()
    with pytest.raises(StatusError, match=r"no answer within 0\.2 seconds") as raised:
        query(path, timeout=0.2)
    assert time.monotonic() - begin >= 0.2
    assert raised.value.status == 4


@contextlib.contextmanager
def impostor(path: str, answer: bytes, interval: float = 0.0) -> Iterator[None]:
    """Something else at the path of a status socket."""
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client:
                if not interval:
                    client.sendall(answer)
                    return
                for byte in answer:
                    client.sendall(bytes([byte]))
                    if over.wait(interval):
                        return

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_one_byte_now_and_then_does_not_keep_us_longer(path: str, status: Status) -> None:
    begin = time.monotonic()
    with impostor(path, encoded(status) * 100, interval=0.02):
        with pytest.raises(StatusError, match=r"no answer within 0\.3 seconds"):
            query(path, timeout=0.3)
        assert time.monotonic() - begin < 5


def test_something_else_that_answers_there_is_no_server(path: str, status: Status) -> None:
    for answer, reason in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it is not JSON"),
        (b"x" * 10_000_000, f"it has more than {ANSWER_MAX} bytes"),
        (b"", "it is empty"),
        (altered(status, pid=1) + b"\n", f"process {os.getpid()} says that it is process 1"),
        (altered(status, socket="/x.socket") + b"\n", "it is the status of another socket"),
    ]:
        with (
            impostor(path, answer),
            pytest.raises(StatusError, match=f"this is not a status of a dorrit server: {reason}"),
        ):
            query(path)
        Path(path).unlink()


def test_a_status_that_is_too_long_is_not_sent(status: Status) -> None:
    with pytest.raises(ValueError, match="more than"):
        encoded(status._replace(user="x" * ANSWER_MAX))


def test_a_query_that_has_no_time_ends_at_once(server: StatusSocket, path: str) -> None:
    with pytest.raises(StatusError, match="no answer within 0 seconds"):
        query(path, 0.0)


def test_what_the_system_says_while_it_is_read_is_a_line(
    server: StatusSocket, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(status_client, "_read", fail)
    with pytest.raises(StatusError, match=f"^{path}: Input/output error$"):
        query(path)


def test_a_server_that_ends_after_its_answer_does_not_run(
    path: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the kernel tells nothing of who is at the other end.
    monkeypatch.setattr(status_client, "peer_credentials", lambda _: None)
    gone = encoded(status._replace(pid=2**22 + 5))  # more than Linux gives
    with (
        impostor(path, gone),
        pytest.raises(StatusError, match="has ended, and something of it still answers"),
    ):
        query(path)


def test_an_interrupted_query_leaves_no_descriptor(
    server: StatusSocket, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(status_client, "_is_connected", interrupt)
    with pytest.raises(KeyboardInterrupt):
        query(path)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_socket_of_another_type_is_no_server_and_left_alone(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(StatusError, match=r"Protocol wrong type for socket$"):
            query(path)
        with pytest.raises(StartError, match=r"for socket; it was left as it is$"):
            StatusSocket(path)
        assert Path(path).exists()


def test_without_a_spare_descriptor_a_caller_is_answered_all_the_same(
    server: StatusSocket, path: str, status: Status
) -> None:
    os.close(server._spare)
    server._spare = -1
    with connected(path) as client:
        server._answer_in_spare_place(encoded(status))
        assert read_all(client) == encoded(status)
    assert server._spare >= 0
