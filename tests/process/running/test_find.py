"""Finding a server, making sure that it is the one that is meant, and stopping it."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files.command_file import Record, RecordFile, read
from dorrit.process.files.paths import command_path, command_path_beside
from dorrit.process.running import find as find_module
from dorrit.process.running.find import find, record_of
from dorrit.process.running.pidfd import Process
from dorrit.process.running.status_client import NotRunningError, StatusError
from tests.support.children import NOBODY, run_python
from tests.support.janitors import janitors
from tests.support.servers import TIMEOUT, until
from tests.support.status_servers import Started, status_servers


@pytest.fixture
def path(directory: Path) -> str:
    return str(directory / "chat.socket")


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def start(directory: Path, path: str) -> Iterator[Callable[..., Started]]:
    """Start the stand-in for a daemon, and wait until it is ready."""
    with status_servers(directory, "chat", path, cwd=directory) as run:
        yield run


# Found


@pytest.mark.root
@pytest.mark.parametrize("words", [(), ("nobody",)])
def test_a_server_is_found_by_its_name(
    directory: Path, start: Callable[..., Started], words: tuple[str, ...]
) -> None:
    process = start("pid", *words)
    with find("chat", str(directory)) as server:
        assert server.process.pid == process.pid
        assert server.status is not None
        assert server.status.pid == process.pid
        assert server.status.connections == 7
        assert server.pid_file == str(directory / "chat.pid")


def test_a_server_without_a_pid_file_is_found_by_its_name(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start()
    with find("chat", str(directory)) as server:
        assert server.process.pid == process.pid
        assert server.status is not None


def test_a_server_that_has_set_no_name_is_found_by_both_that_it_has(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start(name="server", path=str(directory / "dorrit.socket"))
    for name in ("server", "dorrit"):
        with find(name, str(directory)) as server:
            assert server.process.pid == process.pid


def test_a_server_is_found_by_the_path_of_its_socket(
    path: str, start: Callable[..., Started]
) -> None:
    process = start()
    with find(path) as server:
        assert server.process.pid == process.pid
        assert server.status is not None
        assert server.status.socket == path


def test_a_server_whose_socket_is_elsewhere_is_found_by_its_pid_file(
    directory: Path, start: Callable[..., Started]
) -> None:
    (directory / "elsewhere").mkdir()
    process = start("pid", path=str(directory / "elsewhere" / "x.socket"))
    with find("chat", str(directory)) as server:
        assert server.process.pid == process.pid
        assert server.status is None
        assert server.silence == "its socket has another path, which says more: dorrit status PATH"


def test_a_server_that_hangs_is_found_though_it_does_not_answer(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start("pid")
    process.send_signal(signal.SIGSTOP)
    with find("chat", str(directory)) as server:
        assert server.process.pid == process.pid
        assert server.status is None
        assert server.silence.endswith("no answer within 5 seconds")


# Not running


def not_running(target: str, directory: Path) -> NotRunningError:
    with pytest.raises(NotRunningError) as raised:
        find(target, str(directory))
    return raised.value


def test_what_was_never_there_does_not_run(directory: Path, path: str) -> None:
    assert str(not_running("chat", directory)) == "chat: not running"
    assert not not_running("chat", directory).is_left
    assert not not_running(path, directory).is_left


def test_a_server_that_was_killed_has_left_its_files(
    directory: Path, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid")
    process.kill()
    process.wait()
    error = not_running("chat", directory)
    assert error.is_left
    assert str(error) == (
        f"chat: not running; process {process.pid} has ended and left {directory}/chat.pid"
    )
    assert not_running(path, directory).is_left


def test_an_empty_pid_file_says_that_the_server_stopped_in_order(directory: Path) -> None:
    (directory / "chat.pid").touch()
    assert not not_running("chat", directory).is_left


def test_a_pid_file_that_names_another_process_but_is_not_locked_says_nothing(
    directory: Path,
) -> None:
    (directory / "chat.pid").write_text(f"{os.getpid()}\n")
    assert not_running("chat", directory).is_left


# Not certain


@pytest.fixture
def bystander() -> Iterator[Started]:
    process = subprocess.Popen(["sleep", "600"], text=True)
    yield process
    assert process.poll() is None, "it was sent a signal"
    process.kill()
    process.wait()


@pytest.mark.root
@pytest.mark.parametrize("words", [("pid",), ("pid", "nobody")])
def test_a_server_that_names_another_process_in_its_pid_file_is_not_believed(
    directory: Path, start: Callable[..., Started], words: tuple[str, ...]
) -> None:
    # Whoever takes the server over can write there. Root's SIGTERM must not go to process 1.
    start("lie", *words)
    with pytest.raises(StatusError, match="process 1, which it names, does not hold its lock"):
        find("chat", str(directory))


def test_a_server_that_says_that_it_is_another_process_is_not_believed(
    path: str, start: Callable[..., Started]
) -> None:
    process = start("lie")
    with pytest.raises(StatusError, match=f"process {process.pid} says that it is process 1$"):
        find(path)


def test_somebody_else_who_holds_the_lock_does_not_make_the_pid_right(
    directory: Path, bystander: Started
) -> None:
    file = directory / "chat.pid"
    file.write_text(f"{bystander.pid}\n")
    with file.open() as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(StatusError, match="does not hold its lock: it is left alone"):
            find("chat", str(directory))


def test_a_file_that_is_open_but_not_locked_does_not_make_the_pid_right(directory: Path) -> None:
    file = directory / "chat.pid"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with file.open() as opened:
            other = subprocess.Popen(["sleep", "600"], pass_fds=[opened.fileno()])
        file.write_text(f"{other.pid}\n")
        try:
            with pytest.raises(StatusError, match="does not hold its lock"):
                find("chat", str(directory))
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


def test_a_locked_file_without_a_pid_is_a_server_that_starts_or_stops(directory: Path) -> None:
    with (directory / "chat.pid").open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(StatusError, match=r"^chat: starting or stopping just now$"):
            find("chat", str(directory))


def test_a_locked_file_whose_process_is_gone_is_not_a_server(directory: Path) -> None:
    with (directory / "chat.pid").open("w") as opened:
        opened.write(f"{2**22 + 5}\n")  # more than Linux gives
        opened.flush()
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(StatusError, match="has ended, and something of it still holds"):
            find("chat", str(directory))


def test_a_server_that_ends_while_it_is_looked_at_does_not_run(
    directory: Path, start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "elsewhere").mkdir()
    process = start("pid", path=str(directory / "elsewhere" / "x.socket"))

    def end_it(*file: object) -> bool:
        process.kill()
        process.wait()
        return True

    monkeypatch.setattr(find_module, "holds_lock", end_it)
    assert str(not_running("chat", directory)) == "chat: not running any more"


def test_a_symbolic_link_is_not_followed(directory: Path) -> None:
    (directory / "other.pid").write_text("1\n")
    (directory / "chat.pid").symlink_to("other.pid")
    with pytest.raises(StatusError, match="Too many levels of symbolic links"):
        find("chat", str(directory))


def test_what_is_no_file_is_no_pid_file(directory: Path) -> None:
    os.mkfifo(directory / "chat.pid")
    with pytest.raises(StatusError, match="it is not a regular file"):
        find("chat", str(directory))


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a\0"])
def test_what_can_be_neither_a_name_nor_a_path_is_a_usage_error(name: str) -> None:
    for function in (find, record_of):
        with pytest.raises(StartError, match="is neither a server's name nor the abso") as raised:
            function(name)
        assert raised.value.status == 2


def test_only_root_may_read_the_pid_file_but_the_servers_user_may_ask(
    directory: Path, start: Callable[..., Started]
) -> None:
    start("pid", "nobody")
    told = run_python(
        """
        from dorrit.process.running.find import find
        become_nobody()
        with find("chat", sys.argv[1]) as server:
            print(server.pid_file, server.status.name)
        """,
        directory,
    )
    assert told == "None chat\n"


# Stopping


@pytest.mark.parametrize("target", ["chat", "path"])
def test_R27_a_server_is_stopped_by_sigterm_and_waited_for(
    directory: Path, path: str, start: Callable[..., Started], target: str
) -> None:
    process = start("pid")
    with find(path if target == "path" else target, str(directory)) as server:
        assert server.stop(TIMEOUT)
    assert process.wait(TIMEOUT) == 0
    assert process.stdout is not None
    assert process.stdout.read() == "stopping after 1\n"
    assert not_running("chat", directory).is_left is False


@pytest.mark.root
def test_R27_its_janitor_is_waited_for_as_well(
    directory: Path, start: Callable[..., Started]
) -> None:
    start("pid", "nobody", "janitor")
    assert files(directory) == ["chat.pid", "chat.socket", "chat.status"]
    with find("chat", str(directory)) as server:
        assert server.stop(TIMEOUT)
    # The socket is not a file of this janitor's.
    assert files(directory) == ["chat.socket"]


def test_R27_a_server_that_waits_is_not_waited_for_longer_than_asked(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start("linger")
    with find("chat", str(directory)) as server:
        assert not server.stop(0.2)
        assert process.poll() is None
        assert process.stdout is not None
        assert process.stdout.readline() == "took SIGTERM 1\n"  # two that wait would be one
        assert server.stop(TIMEOUT)  # its second signal
    assert process.wait(TIMEOUT) == 0


def test_R27_now_sends_two_signals_that_are_not_one(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start("linger")
    with find("chat", str(directory)) as server:
        assert server.stop(TIMEOUT, now=True)
    assert process.wait(TIMEOUT) == 0


def test_R27_now_waits_for_the_first_signal_to_be_taken(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start("linger")
    with find("chat", str(directory)) as server:
        # It is stopped, and would take both as one.
        process.send_signal(signal.SIGSTOP)
        until(lambda: " T " in Path(f"/proc/{process.pid}/stat").read_text())
        begin = time.monotonic()
        waker = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {process.pid}"])
        assert server.stop(TIMEOUT, now=True)
        assert time.monotonic() - begin >= 0.4
        assert waker.wait(TIMEOUT) == 0
    assert process.wait(TIMEOUT) == 0


def test_R27_a_server_that_ends_meanwhile_has_stopped(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start()
    with find("chat", str(directory)) as server:
        process.kill()
        process.wait()
        assert server.stop(TIMEOUT)
        assert server.stop(0, now=True)


@pytest.mark.root
def test_R27_another_users_server_is_not_stopped(
    directory: Path, path: str, start: Callable[..., Started]
) -> None:
    process = start()
    told = run_python(
        """
        from dorrit.process.running.find import find
        with find(sys.argv[1]) as server:
            become_nobody()
            try:
                server.stop(5)
            except StartError as error:
                print(error.status, error)
        """,
        path,
    )
    assert told == (
        f"4 process {process.pid}: permission denied: only the server's user and root may stop it\n"
    )
    assert process.poll() is None


@pytest.mark.root
def test_R27_a_janitor_that_takes_longer_than_the_server_is_waited_for(
    directory: Path, start: Callable[..., Started]
) -> None:
    start("pid", "nobody", "janitor", "hasty")
    (janitor,) = janitors(directory)
    os.kill(janitor, signal.SIGSTOP)
    waker = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {janitor}"])
    with find("chat", str(directory)) as server:
        assert server.stop(TIMEOUT)
    assert files(directory) == ["chat.socket"]
    assert waker.wait(TIMEOUT) == 0


def test_a_signal_is_pending_until_the_process_takes_it() -> None:
    child = subprocess.Popen(["sh", "-c", "trap : TERM; echo ready; kill -STOP $$; read x"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        stat_file = Path(f"/proc/{child.pid}/stat")
        until(lambda: " T " in stat_file.read_text())
        with Process(child.pid) as process:
            assert process.has_taken(signal.SIGTERM)
            process.send(signal.SIGTERM)
            assert not process.has_taken(signal.SIGTERM)
            assert process.has_taken(signal.SIGHUP)
            process.send(signal.SIGCONT)
            until(lambda: process.has_taken(signal.SIGTERM))
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_a_process_is_sent_signals_and_waited_for_with_and_without_a_pidfd(
    monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    child = subprocess.Popen(["sleep", "600"])
    with Process(child.pid) as process:
        assert not process.wait(0.05)
        process.send(signal.SIGTERM)
        if not has_pidfd:
            child.wait()  # a zombie still is a process
        assert process.wait(TIMEOUT)
        child.wait()
        with pytest.raises(ProcessLookupError):
            process.send(signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        Process(child.pid)


def test_R27_now_is_said_again_to_a_server_that_was_busy(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start("linger", "busy")
    with find("chat", str(directory)) as server:
        assert server.stop(TIMEOUT, now=True)
    assert process.wait(TIMEOUT) == 0


# How a daemon was started


@pytest.fixture
def record(path: str) -> Record:
    return Record(
        name="chat", socket=path, command=("/usr/bin/python3", "-m", "dorrit", ""), directory="/srv"
    )


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_a_record_is_read_as_it_was_written(directory: Path, record: Record, umask: int) -> None:
    file = command_path("chat", directory)
    before = os.umask(umask)
    try:
        with RecordFile(file, record):
            assert stat.filemode(os.lstat(file).st_mode) == "-rw-------"
            assert read(file) == record
            assert record_of("chat", str(directory))[1] == record
            assert files(directory) == ["chat.command"]
    finally:
        os.umask(before)
    assert files(directory) == []


def make_link(path: str) -> None:
    Path(path).symlink_to("x")


def test_a_record_that_was_left_is_replaced(directory: Path, record: Record) -> None:
    file = Path(command_path("chat", directory))
    with RecordFile(str(file), record._replace(directory="/elsewhere")):
        left = file.read_text()
    file.write_text(left)
    with RecordFile(str(file), record):
        assert read(str(file)) == record


@pytest.mark.parametrize("text", ["", "precious", "{}", '{"name": 1}', "[" * 100_000])
def test_a_file_that_no_server_has_written_is_left_alone(
    directory: Path, record: Record, text: str
) -> None:
    file = Path(command_path("chat", directory))
    file.write_text(text)
    with pytest.raises(StartError, match="there is a file that no server has left; it was left"):
        RecordFile(str(file), record)
    assert file.read_text() == text
    assert list(directory.iterdir()) == [file]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, make_link])
def test_what_is_no_record_is_left_alone(
    directory: Path, record: Record, make: Callable[[str], None]
) -> None:
    file = command_path("chat", directory)
    make(file)
    inode = os.lstat(file).st_ino
    with pytest.raises(StartError, match="it is not a regular file; it was left as it is"):
        RecordFile(file, record)
    assert os.lstat(file).st_ino == inode
    assert files(directory) == ["chat.command"]


def test_R29_the_next_image_removes_the_record(directory: Path, record: Record) -> None:
    file = command_path("chat", directory)
    RecordFile(file, record)
    RecordFile.adopt(file).close()
    assert files(directory) == []
    RecordFile.adopt(file).close()


def test_closing_leaves_a_record_that_is_another_servers(directory: Path, record: Record) -> None:
    file = command_path("chat", directory)
    first = RecordFile(file, record)
    with RecordFile(file, record):
        first.close()
        assert read(file) == record


def own_by_nobody(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)


def make_writable(file: Path) -> None:
    file.chmod(0o620)


def give_second_name(file: Path) -> None:
    file.with_name("second").hardlink_to(file)


@pytest.mark.root
@pytest.mark.parametrize("change", [own_by_nobody, make_writable, give_second_name])
def test_a_record_that_somebody_else_may_have_written_is_not_believed(
    directory: Path, record: Record, change: Callable[[Path], None]
) -> None:
    # The server's user must not be able to have root run a command.
    with RecordFile(command_path("chat", directory), record) as file:
        change(Path(file.path))
        with pytest.raises(StartError, match="somebody else may have written this; its command"):
            record_of("chat", str(directory))


def test_a_record_in_a_directory_of_everybodys_is_not_believed(
    directory: Path, record: Record
) -> None:
    with RecordFile(command_path("chat", directory), record):
        directory.chmod(0o777)
        with pytest.raises(StartError, match="which others can write"):
            record_of("chat", str(directory))
        directory.chmod(0o755)


def test_a_record_behind_a_symbolic_link_is_not_believed(directory: Path, record: Record) -> None:
    with RecordFile(str(directory / "other.command"), record):
        (directory / "chat.command").symlink_to("other.command")
        with pytest.raises(StartError, match="Too many levels of symbolic links"):
            record_of("chat", str(directory))


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"name":"a","socket":"/x","command":[],"directory":"/"}',
     '{"name":"a","socket":"/x","command":["relative"],"directory":"/"}',
     '{"name":"a","socket":"/x","command":["/x"],"directory":"x"}',
     '{"name":"a","socket":"/x","command":["/x",5],"directory":"/"}',
     '{"name":"a","socket":"/x","command":"/x\\u0000","directory":"/"}',
     "[" * 100_000],
)  # fmt: skip
def test_a_damaged_record_is_an_error(directory: Path, text: str) -> None:
    file = directory / "chat.command"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(StartError, match="damaged; its command was not run"):
        record_of("chat", str(directory))


def test_the_record_of_a_socket_is_beside_it_or_beside_the_pid_file(
    directory: Path, path: str, record: Record, start: Callable[..., Started]
) -> None:
    with RecordFile(command_path_beside(path), record):
        assert record_of(path, str(directory))[1] == record
    (directory / "elsewhere").mkdir()
    other = str(directory / "elsewhere" / "x.socket")
    start("pid", "record", path=other)
    assert record_of(other, str(directory))[1].socket == other
    assert record_of("chat", str(directory))[1].socket == other


def test_the_record_of_another_servers_socket_is_not_taken(
    directory: Path, path: str, record: Record
) -> None:
    other = str(directory / "other.socket")
    with (
        RecordFile(command_path_beside(other), record),
        pytest.raises(StartError, match=f"this is of a server on another socket, {path}$"),
    ):
        record_of(other, str(directory))


def test_a_server_in_the_foreground_has_no_record(
    directory: Path, path: str, start: Callable[..., Started]
) -> None:
    start()
    for target in ("chat", path):
        with pytest.raises(StartError, match="there is no such file, which a daemon makes"):
            record_of(target, str(directory))


def test_the_socket_of_no_server_has_no_record(directory: Path, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with pytest.raises(StartError, match="there is no such file"):
        record_of(path, str(directory))


def test_R27_a_server_that_never_takes_a_signal_is_not_waited_for_longer_than_asked(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start()
    with find("chat", str(directory)) as server:
        process.send_signal(signal.SIGSTOP)
        assert not server.stop(0.2, now=True)
    assert process.poll() is None


def test_R27_a_server_that_is_killed_before_it_takes_the_signal_has_stopped(
    directory: Path, start: Callable[..., Started]
) -> None:
    process = start()
    with find("chat", str(directory)) as server:
        process.send_signal(signal.SIGSTOP)
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -KILL {process.pid}"])
        assert server.stop(TIMEOUT, now=True)
        assert killer.wait(TIMEOUT) == 0


def test_a_socket_on_which_a_server_of_another_name_answers_is_not_the_servers(
    directory: Path, start: Callable[..., Started]
) -> None:
    start(name="other", path=str(directory / "dorrit.socket"))
    with pytest.raises(StatusError, match=r"^server: the server there says that it is other$"):
        find("server", str(directory))


def test_the_holder_of_the_pid_file_is_the_server_whoever_answers_on_its_socket(
    directory: Path, path: str, start: Callable[..., Started]
) -> None:
    (directory / "elsewhere").mkdir()
    process = start("pid", path=str(directory / "elsewhere" / "x.socket"))
    start(path=path)
    with find("chat", str(directory)) as server:
        assert server.process.pid == process.pid
        assert server.status is None
        assert server.silence == "another process answers on its status socket"


def test_R27_a_janitor_that_hangs_is_not_waited_for_for_ever(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = directory / "chat.pid"
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        find_module._wait_for_janitor(str(file), time.monotonic() + 0.05)
    assert file.exists()


def test_a_kernel_without_descriptors_of_processes_does_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = subprocess.Popen(["sleep", "600"])
    with Process(child.pid) as process:
        assert not process.wait(0)
        process.send(signal.SIGKILL)
        child.wait()
        assert process.wait(0)
        assert process.has_taken(signal.SIGTERM)  # nothing can be seen of it any more
    with pytest.raises(ProcessLookupError):
        Process(child.pid)


RECORD = Record(name="chat", socket="/s", command=("/bin/true",), directory="/")


def test_a_record_that_cannot_be_written_is_one_line(directory: Path) -> None:
    file = directory / "chat.command"
    (directory / f".chat.command.{os.getpid()}").mkdir()  # in the place of the new one
    with pytest.raises(StartError, match=f"^{file}: Is a directory$"):
        RecordFile(str(file), RECORD)
    assert not file.exists()


def test_a_records_place_that_cannot_be_looked_at_is_one_line(directory: Path) -> None:
    file = directory / ("x" * 300)
    with pytest.raises(StartError, match=r"x: File name too long$"):
        RecordFile(str(file), RECORD)


@pytest.mark.root
def test_what_stands_in_a_records_place_and_cannot_be_read_is_one_line(directory: Path) -> None:
    file = directory / "chat.command"
    file.touch(mode=0o600)
    os.chown(directory, NOBODY, NOBODY)
    told = run_python(
        """
        from dorrit.process.files.command_file import Record, RecordFile
        become_nobody()
        try:
            record = Record(name="chat", socket="/s", command=("/bin/true",), directory="/")
            RecordFile(sys.argv[1], record)
        except StartError as error:
            print(error)
        """,
        file,
    )
    assert told == f"{file}: Permission denied\n"
