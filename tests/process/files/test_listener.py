"""The listening socket (R1, R25)."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files import listener as listener_module
from dorrit.process.files.listener import Listener
from dorrit.process.files.paths import PATH_MAX
from tests.support.children import BEGINNING, NOBODY, run_python


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "socket"


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Listener]:
    with Listener(str(path)) as listener:
        listener.listen()
        yield listener


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except BaseException:
        client.close()
        raise
    return client


def leave_stale_socket(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as left:
        left.bind(str(path))


def test_R1_clients_can_connect_while_it_is_open(path: Path) -> None:
    with listening(path) as listener:
        assert listener.path == str(path)
        with connect(path), socket.socket(fileno=os.dup(listener.descriptor)) as ours:
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            ours.accept()[0].close()
    with pytest.raises(FileNotFoundError):
        connect(path)


def test_R25_nobody_can_connect_before_it_listens(path: Path) -> None:
    with Listener(str(path)) as listener:
        with pytest.raises(ConnectionRefusedError):
            connect(path)
        listener.listen()
        connect(path).close()
        listener.listen()
        connect(path).close()


def test_R25_its_descriptor_does_not_block_and_is_not_inherited(path: Path) -> None:
    with Listener(str(path)) as listener:
        assert not os.get_blocking(listener.descriptor)
        assert not os.get_inheritable(listener.descriptor)


@pytest.mark.parametrize("umask", ["0o000", "0o022", "0o777"])
def test_R25_its_mode_is_srwxrwx___and_was_never_wider(path: Path, umask: str) -> None:
    told = run_python(
        f"""
        def watch(event, arguments):
            if event == "socket.bind":
                with open("/proc/self/status") as status:
                    print(event, [line.split()[1] for line in status if "Umask" in line][0])
            elif event in ("os.chmod", "os.chown", "os.rename", "os.link"):
                if not isinstance(arguments[0], str):
                    print(event, "of the lock")
                elif arguments[0].startswith(os.path.dirname(sys.argv[1])):
                    print(event, arguments[0])

        os.umask({umask})
        sys.addaudithook(watch)
        made = Listener(sys.argv[1])
        print(oct(os.lstat(sys.argv[1]).st_mode), oct(os.umask(0)))
        """,
        path,
    )
    # The only thing that gives it a mode is bind(2), under a umask that leaves others nothing.
    assert told.splitlines() == [
        "os.chmod of the lock",
        "socket.bind 0007",
        f"0o140770 {oct(int(umask, 8))}",
    ]


def test_R25_a_stale_socket_is_replaced(path: Path) -> None:
    leave_stale_socket(path)
    with listening(path), connect(path):
        pass
    assert not path.exists()


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    leave_stale_socket(path.with_name("target"))
    path.symlink_to(path.with_name("target"))


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_file, "a regular file"),
        (make_directory, "a directory"),
        (make_link, "a symbolic link"),
        (make_dangling_link, "a symbolic link"),
        (make_fifo, "a FIFO"),
    ],
)
def test_R25_what_is_no_socket_is_left_alone(path: Path, make: object, kind: str) -> None:
    assert callable(make)
    make(path)
    before = [(p, p.lstat().st_ino, p.lstat().st_mode) for p in sorted(path.parent.iterdir())]
    with pytest.raises(StartError) as raised:
        Listener(str(path))
    assert str(raised.value) == f"{path}: there is {kind}, not a socket; it was left as it is"
    after = [(p, p.lstat().st_ino, p.lstat().st_mode) for p in sorted(path.parent.iterdir())]
    assert after == before


def test_R25_a_server_that_lives_is_left_alone_and_named(path: Path) -> None:
    with listening(path):
        inode = path.stat().st_ino
        with pytest.raises(
            StartError,
            match=rf"^{path}: another server \(process {os.getpid()}\) ",
        ):
            Listener(str(path))
        assert path.stat().st_ino == inode
        connect(path).close()
    assert not list(path.parent.iterdir())


def test_R25_a_server_that_does_not_listen_yet_is_left_alone_too(path: Path) -> None:
    with Listener(str(path)):
        inode = path.stat().st_ino
        with pytest.raises(StartError, match="another server"):
            Listener(str(path))
        assert path.stat().st_ino == inode


def test_R25_a_server_without_a_lock_of_ours_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartError, match=f"^{path}: a server answers there; stop it first"):
            Listener(str(path))
        connect(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_R25_a_server_whose_backlog_is_full_is_left_alone(path: Path) -> None:
    waiting = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        inode = path.stat().st_ino
        try:
            with contextlib.suppress(BlockingIOError):  # until it is full
                while True:
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].setblocking(False)
                    waiting[-1].connect(str(path))
            with pytest.raises(StartError, match="a server answers there"):
                Listener(str(path))
        finally:
            for client in waiting:
                client.close()
        assert path.stat().st_ino == inode


def test_R25_a_socket_of_another_type_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(StartError, match=r"whether a server answers there can't be seen: "):
            Listener(str(path))
        assert stat.S_ISSOCK(path.lstat().st_mode)


@pytest.mark.root
def test_R25_a_socket_that_we_may_not_connect_to_is_left_alone(directory: Path) -> None:
    (directory / "open").mkdir()
    path = directory / "open" / "socket"
    leave_stale_socket(path)
    path.chmod(0)
    os.chown(path.parent, NOBODY, NOBODY)
    told = run_python(
        """
        become_nobody()
        try:
            Listener(sys.argv[1])
        except StartError as error:
            print(error)
        """,
        path,
    )
    assert told == (
        f"{path}: there is a socket, and whether a server answers there can't be seen: "
        "Permission denied; it was left as it is\n"
    )
    assert path.exists()


def test_R25_a_path_of_the_greatest_length_will_do(directory: Path) -> None:
    path = directory / ("x" * (PATH_MAX - len(str(directory)) - 1))
    assert len(str(path)) == PATH_MAX
    with listening(path), connect(path):
        pass


@pytest.mark.parametrize("letter", ["x", "é"])
def test_R25_a_path_that_is_too_long_is_an_error_that_says_the_limit_in_bytes(
    directory: Path, letter: str
) -> None:
    path = str(directory / (letter * PATH_MAX))
    length = len(path.encode())
    with pytest.raises(StartError) as raised:
        Listener(path)
    assert str(raised.value) == (
        f"{path}: too long for a UNIX-domain socket: {length} bytes, where at most {PATH_MAX} are "
        "possible; choose a shorter path with -l"
    )
    assert not list(directory.iterdir())


def test_R25_one_byte_more_than_the_greatest_length_is_too_long(directory: Path) -> None:
    path = directory / ("x" * (PATH_MAX - len(str(directory))))
    with pytest.raises(StartError, match=rf": {PATH_MAX + 1} bytes, where at most {PATH_MAX} "):
        Listener(str(path))


def test_R25_a_missing_directory_is_an_error(directory: Path) -> None:
    path = directory / "missing" / "socket"
    with pytest.raises(StartError) as raised:
        Listener(str(path))
    assert str(raised.value) == (
        f"{path}: the socket can't be made: No such file or directory: {path.parent} must be a "
        "directory"
    )
    assert not list(directory.iterdir())


def test_R25_a_file_in_the_directorys_place_is_an_error(directory: Path) -> None:
    (directory / "file").touch()
    path = directory / "file" / "socket"
    with pytest.raises(StartError, match=rf"Not a directory: {path.parent} must be a directory$"):
        Listener(str(path))


@pytest.mark.parametrize("stale", [False, True])
def test_R25_a_directory_that_may_not_be_written_is_an_error(directory: Path, stale: bool) -> None:
    path = directory / "socket"
    if stale:
        leave_stale_socket(path)
        path.chmod(0o777)
    before = list(directory.iterdir())
    directory.chmod(0o555)
    told = run_python(
        """
        become_nobody()
        try:
            Listener(sys.argv[1])
        except StartError as error:
            print(error.status, error)
        """,
        path,
    )
    assert told == (
        f"1 {path}: the socket can't be made: Permission denied: {directory} must be writable for "
        "the server's user; or choose another path with -l\n"
    )
    assert list(directory.iterdir()) == before
    directory.chmod(0o755)


@pytest.mark.root
def test_R25_a_directory_that_may_be_written_but_not_read_will_do(directory: Path) -> None:
    inner = directory / "inner"
    inner.mkdir()
    os.chown(inner, NOBODY, NOBODY)
    inner.chmod(0o300)
    told = run_python(
        """
        become_nobody()
        with Listener(sys.argv[1]):
            print(os.path.exists(sys.argv[1]))
        print(os.path.exists(sys.argv[1]))
        """,
        inner / "socket",
    )
    assert told == "True\nFalse\n"


def test_R27_closing_removes_the_name_and_closing_again_does_nothing(path: Path) -> None:
    listener = Listener(str(path))
    listener.close()
    assert not path.exists()
    path.write_text("somebody else's")
    listener.close()
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("make", [make_file, make_directory, leave_stale_socket])
def test_R27_closing_leaves_what_somebody_else_has_put_there(path: Path, make: object) -> None:
    assert callable(make)
    listener = Listener(str(path))
    path.unlink()
    make(path)
    inode = path.lstat().st_ino
    listener.close()
    assert path.lstat().st_ino == inode


def test_R27_closing_does_not_mind_that_the_name_is_gone(path: Path) -> None:
    listener = Listener(str(path))
    path.unlink()
    listener.close()


def test_R27_a_name_that_cannot_be_removed_any_more_is_logged(directory: Path) -> None:
    told = run_python(
        """
        os.dup2(1, 2)
        log.Log("info")
        made = Listener(sys.argv[1])
        unlink, os.unlink = os.unlink, None     # what Path.unlink calls
        def refuse(*words, **named):
            raise OSError(30, "Read-only file system")
        os.unlink = refuse
        made.close()
        """,
        directory / "socket",
    )
    assert f" WARNING {directory}/socket can't be removed: Read-only file system\n" in told


@pytest.mark.root
def test_R27_that_it_cannot_be_removed_without_privileges_is_no_surprise(directory: Path) -> None:
    told = run_python(
        """
        os.dup2(1, 2)
        log.Log("info")
        made = Listener(sys.argv[1])
        become_nobody()
        made.close()
        print(os.path.exists(sys.argv[1]))
        """,
        directory / "socket",
    )
    assert told == "True\n"


def test_R25_a_failure_leaves_no_descriptor_and_no_umask(directory: Path) -> None:
    def descriptors() -> set[str]:
        return {path.name for path in Path("/proc/self/fd").iterdir()}

    before = descriptors(), os.umask(0o022)
    os.umask(before[1])
    for path in (directory, directory / "no" / "socket", directory / ("x" * 200)):
        with pytest.raises(StartError):
            Listener(str(path))
    after = descriptors(), os.umask(0o022)
    os.umask(after[1])
    assert after == before


# Owner and group


@pytest.mark.root
@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_R25_it_belongs_to_the_user_and_the_group(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Listener(str(path), NOBODY, 12345):
            status = path.lstat()
    finally:
        os.umask(before)
    assert (status.st_uid, status.st_gid) == (NOBODY, 12345)
    assert stat.filemode(status.st_mode) == "srwxrwx---"


@pytest.mark.root
def test_R25_in_a_directory_that_hands_on_its_group_it_has_the_servers(path: Path) -> None:
    os.chown(path.parent, NOBODY, 12345)
    path.parent.chmod(0o2755)
    told = run_python(
        """
        become_nobody()
        made = Listener(sys.argv[1], os.getuid(), os.getgid())
        print(os.lstat(sys.argv[1]).st_gid)
        """,
        path,
    )
    assert told == f"{NOBODY}\n"


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_R25_a_directory_that_anybody_may_change_is_refused(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with pytest.raises(StartError, match="no sticky bit"):
        Listener(str(path))
    assert not list(path.parent.iterdir())


# The lock


@pytest.mark.parametrize("make", [make_link, make_dangling_link])
def test_R25_a_link_in_the_place_of_the_lock_is_not_followed(
    path: Path, make: Callable[[Path], None]
) -> None:
    lock = path.with_name("socket.lock")
    make(lock)
    with pytest.raises(StartError, match=r"socket\.lock: it is a symbolic link; it was left"):
        Listener(str(path))
    assert lock.is_symlink()
    assert not path.exists()


CONTEND = """\
sys.stdin.readline()
try:
    made = Listener(sys.argv[1])
    made.listen()
except StartError as error:
    print(error, flush=True)
else:
    print("listening", flush=True)
    sys.stdin.readline()
    made.close()
"""


@pytest.fixture
def contender(path: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Starts processes that want to listen on the same path at a word, and ends them."""
    with contextlib.ExitStack() as started:

        def start() -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", BEGINNING + CONTEND, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_R25_of_some_that_start_at_once_exactly_one_has_it(
    path: Path, contender: Callable[[], "subprocess.Popen[str]"]
) -> None:
    leave_stale_socket(path)
    for count in [2] * 17 + [4] * 3:
        contenders = [contender() for _ in range(count)]
        for process in contenders:
            go_on(process)
        lines = [line_of(process) for process in contenders]
        winners = [p for p, line in zip(contenders, lines, strict=True) if line == "listening\n"]
        assert len(winners) == 1, lines
        assert all("another server" in line for line in lines if line != "listening\n"), lines
        connect(path).close()
        winners[0].kill()  # and leaves its socket and its lock
        winners[0].wait()
        assert path.exists()
        assert path.with_name("socket.lock").exists()


# Its next owners


def test_R22_a_process_that_is_forked_off_removes_nothing_unless_it_is_the_daemon(
    path: Path,
) -> None:
    told = run_python(
        """
        made = Listener(sys.argv[1])
        if os.fork() == 0:
            made.close()
            os._exit(0)
        os.wait()
        print(os.path.exists(sys.argv[1]), os.path.exists(sys.argv[1] + ".lock"), flush=True)
        if os.fork() == 0:
            made.own()
            print(open(sys.argv[1] + ".lock").read() == f"{os.getpid()}\\n", flush=True)
            made.close()
            os._exit(0)
        os.wait()
        print(os.path.exists(sys.argv[1]), os.path.exists(sys.argv[1] + ".lock"))
        """,
        path,
    )
    assert told.splitlines() == ["True True", "True", "False False"]


def test_R29_the_next_image_goes_on_with_those_who_wait(path: Path) -> None:
    first = Listener(str(path))
    first.listen()
    client = connect(path)
    assert first.lock is not None
    descriptors = os.dup(first.descriptor), first.lock.descriptor
    os.set_inheritable(descriptors[0], True)
    first.lock.descriptor = -1  # as if exec had come in between
    first._socket.close()
    with client, Listener.adopt(descriptors[0], str(path), descriptors[1]) as second:
        assert (second.path, second.descriptor) == (str(path), descriptors[0])
        assert not os.get_inheritable(second.descriptor)
        second.listen()
        second._socket.accept()[0].close()
        with pytest.raises(StartError, match="another server"):
            Listener(str(path))
    assert not list(path.parent.iterdir())


def test_R25_a_socket_that_was_handed_over_stays_where_it_is(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(path))
        manager.listen(7)
        given = Listener.given(os.dup(manager.fileno()), str(path))
        assert given.lock is None
        assert not os.get_blocking(given.descriptor)
        given.own()
        given.listen()
        with connect(path):
            given._socket.accept()[0].close()
        given.close()
        assert list(path.parent.iterdir()) == [path]
        connect(path).close()  # the manager listens still


def test_R25_what_else_goes_wrong_is_said_in_the_systems_words() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    assert listener_module._why(error, "/run/x/socket") == "No space left on device"
