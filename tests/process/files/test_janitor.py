"""The process that removes the server's names when the server is gone (R27). It needs root."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files import janitor
from dorrit.process.files.lock import Lock
from tests.support import proc
from tests.support.janitors import janitors
from tests.support.locks import holder
from tests.support.servers import until

NOBODY = 65534

BEGINNING = """\
import os, signal, socket, sys, time
from dorrit.process.files.janitor import Janitor
from dorrit.process.files.lock import Lock
from dorrit.process.credentials.privileges import drop, resolve
from dorrit.process.files.listener import Listener

directory = sys.argv[1]
pid_file = directory + "/chat.pid"
path = directory + "/socket"

def say(*words):
    os.write(1, " ".join([*map(str, words), "\\n"]).encode())

def hear():
    return sys.stdin.readline()

def make():
    '''What root makes: a pid file, a socket, the janitor.'''
    global lock, listener, janitor
    lock = Lock(pid_file)
    lock.write()
    listener = Listener(path)
    listener.listen()
    names = [path, path + ".lock", pid_file]
    janitor = Janitor("chat", names, [listener.lock.descriptor, lock.descriptor])

def finish():
    listener.close()
    lock.close()
    return janitor.finish()

"""

SERVER = """
make()
drop(resolve(None, None))
say("serves")
while (word := hear()):
    if word == "stop\\n":
        say(finish(), os.listdir(directory))
"""


class Process:
    """A server that has a janitor."""

    def __init__(self, code: str, directory: Path) -> None:
        self.directory = directory
        self.names = [directory / "socket", directory / "chat.pid"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + textwrap.dedent(code), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def hear(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    @property
    def there(self) -> list[bool]:
        return [name.exists() for name in self.names]

    def close(self) -> None:
        proc.end_group(self.process)
        for pid in janitors(self.directory):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def server(directory: Path, request: pytest.FixtureRequest) -> Iterator[Process]:
    made = Process(getattr(request, "param", SERVER), directory)
    yield made
    made.close()


def with_code(code: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", [code], indirect=True)


def janitor_of(server: Process) -> int:
    (pid,) = janitors(server.directory)
    return pid


@pytest.mark.root
def test_R27_the_names_are_gone_when_the_server_stops(server: Process) -> None:
    assert server.said() == "serves"
    assert server.there == [True, True]
    assert proc.status(server.pid)["Uid"][0] == str(NOBODY)
    pid = janitor_of(server)
    server.hear("stop")
    assert server.said() == "True []"  # they went before it went on
    until(partial(proc.is_gone, pid))
    assert not proc.is_gone(server.pid)


def test_R27_the_names_are_gone_after_kill_9(server: Process) -> None:
    assert server.said() == "serves"
    pid = janitor_of(server)
    server.process.kill()
    until(lambda: server.there == [False, False])
    until(partial(proc.is_gone, pid))


@pytest.mark.root
def test_R27_it_is_a_small_root_process_with_nothing_of_the_servers(server: Process) -> None:
    assert server.said() == "serves"
    pid = janitor_of(server)
    shown = proc.status(pid)
    assert shown["Uid"] == ["0"] * 4
    assert shown["Name"] == ["dorrit-janitor"]
    assert shown["Threads"] == ["1"]
    place = proc.stat(pid)
    assert place["parent"] != server.pid  # nobody who waits for children finds it
    assert place["session"] not in {os.getsid(server.pid), pid}
    assert place["terminal"] == 0
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[4] == b"chat"
    descriptors = proc.descriptors(pid)
    assert [descriptors.pop(number) for number in range(3)] == ["/dev/null"] * 3
    kinds = sorted(name.split(":")[0] for name in descriptors.values())
    directory = str(server.directory)
    # The pair's end, the locks, and for each name the directory and what stands there, which this
    # keeps from being another file with its inode. Not the listening socket.
    locks = [f"{directory}/chat.pid", f"{directory}/socket.lock"]
    assert kinds == sorted(["socket", *[directory] * 3, *locks, *locks, f"{directory}/socket"])
    listening = Path("/proc/net/unix").read_text()
    (inode,) = [name[8:-1] for name in descriptors.values() if name.startswith("socket:")]
    assert not [line for line in listening.splitlines() if f" {inode} {directory}" in line]


def test_R27_no_signal_of_a_service_manager_ends_it(server: Process) -> None:
    assert server.said() == "serves"
    pid = janitor_of(server)
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "TSTP"):
        os.kill(pid, signal.Signals[f"SIG{name}"])
    # They have been taken when another process can see that none is waiting.
    assert int(proc.status(pid)["SigPnd"][0], 16) == 0
    assert int(proc.status(pid)["ShdPnd"][0], 16) == 0
    server.hear("stop")
    assert server.said() == "True []"


def test_R27_while_it_lives_no_other_server_takes_the_names(server: Process) -> None:
    assert server.said() == "serves"
    pid = janitor_of(server)
    os.kill(pid, signal.SIGSTOP)  # as if it were slow
    server.process.kill()
    server.process.wait()
    assert server.there == [True, True]
    assert holder(server.names[1]) == server.pid
    os.kill(pid, signal.SIGCONT)
    # A server that starts in this moment waits for it, then has names of its own.
    with Lock(server.names[1]) as lock:
        until(partial(proc.is_gone, pid))
        assert server.there == [False, True]
        assert os.path.samestat(os.fstat(lock.descriptor), server.names[1].stat())


def test_R27_what_has_become_somebody_elses_is_left(server: Process) -> None:
    assert server.said() == "serves"
    pid = janitor_of(server)
    with socket.socket(socket.AF_UNIX) as other:
        server.names[0].unlink()
        os.kill(pid, signal.SIGSTOP)
        server.process.kill()
        server.process.wait()  # it has the inode no longer, which file systems use again
        other.bind(str(server.names[0]))
        os.kill(pid, signal.SIGCONT)
        until(partial(proc.is_gone, pid))
        assert server.there == [True, False]


@pytest.mark.root
def test_R27_a_server_that_does_without_it_goes_on(server: Process) -> None:
    assert server.said() == "serves"
    os.kill(janitor_of(server), signal.SIGKILL)
    server.hear("stop")
    assert server.said().startswith("True ['")
    assert server.there == [True, True]
    assert server.names[1].read_text() == f"{server.pid}\n"
    assert holder(server.names[1]) is None


@with_code(
    """
    if len(sys.argv) == 2:
        make()
        left = lock.descriptor, listener.descriptor, janitor.descriptor
        for descriptor in left:
            os.set_inheritable(descriptor, True)
        os.execv(sys.executable, [*sys.orig_argv, *map(str, left)])
    lock = Lock.adopt(int(sys.argv[2]), pid_file)
    janitor = Janitor.adopt(int(sys.argv[4]))
    say(os.get_inheritable(janitor.descriptor))
    drop(resolve(None, None))
    hear()
    lock.close()
    say(janitor.finish(), os.listdir(directory))
    hear()
    """
)
def test_R29_it_stays_with_the_next_image(server: Process) -> None:
    assert server.said() == "False"
    assert server.there == [True, True]
    assert len(janitors(server.directory)) == 1
    server.hear("")
    assert server.said() == "True []"


@with_code(
    """
    make()
    drop(resolve(None, None))
    if os.fork() == 0:
        say(janitor.finish())  # it is not this one's
        time.sleep(60)
    hear()
    say(finish(), os.listdir(directory))
    hear()
    """
)
def test_R27_a_process_forked_off_the_server_does_not_matter(server: Process) -> None:
    assert server.said() == "True"
    assert server.there == [True, True]
    server.hear("")
    assert server.said() == "True []"


@with_code(
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.umask(0o777)
    make()
    try:
        os.wait()
    except ChildProcessError:
        say("no children")
    """
)
def test_R27_the_server_has_no_child_by_it(server: Process) -> None:
    assert server.said() == "no children"


def test_R27_one_that_can_not_start_is_one_line(directory: Path) -> None:
    with pytest.raises(StartError) as caught:
        janitor.Janitor("chat", [str(directory / "none")], [])
    assert str(caught.value) == (
        f"the janitor that removes {directory}/none: [Errno 2] No such file or directory: 'none'"
    )


def test_R27_one_that_fails_at_its_start_is_noticed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "file").touch()
    monkeypatch.setattr(janitor, "PROGRAM", directory / "none")
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(StartError, match=r"^the janitor that removes .*/file: it did not start$"):
        janitor.Janitor("chat", [str(directory / "file")], [])
    assert list(Path("/proc/self/fd").iterdir()) == before


def test_R29_the_next_image_goes_on_with_it(directory: Path) -> None:
    name = directory / "name"
    name.touch()
    made = janitor.Janitor("chat", [str(name)], [])
    adopted = janitor.Janitor.adopt(made.descriptor)
    made.descriptor = -1
    assert made.finish()  # it has nothing to do any more
    assert name.exists()
    assert not os.get_inheritable(adopted.descriptor)
    assert adopted.finish()
    assert not name.exists()


def test_R27_a_process_forked_off_the_server_does_not_end_it(directory: Path) -> None:
    name = directory / "name"
    name.touch()
    made = janitor.Janitor("chat", [str(name)], [])
    child = os.fork()
    if child == 0:
        os._exit(0 if made.finish() and name.exists() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert name.exists()
    assert made.finish()
    assert not name.exists()


def test_R27_one_that_hangs_is_not_waited_for_for_ever(directory: Path) -> None:
    name = directory / "name"
    name.touch()
    made = janitor.Janitor("chat", [str(name)], [])
    (pid,) = janitors(directory)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not made.finish(0.1)
        assert name.exists()
    finally:
        os.kill(pid, signal.SIGCONT)
    until(partial(proc.is_gone, pid), "its end")
    assert not name.exists()


def test_R27_an_interrupted_start_leaves_no_descriptor(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(janitor, "_run", interrupt)
    before = proc.descriptors(os.getpid()).keys()
    with pytest.raises(KeyboardInterrupt):
        janitor.Janitor("chat", [], [])
    assert proc.descriptors(os.getpid()).keys() == before


def test_R27_one_that_was_killed_has_ended(directory: Path) -> None:
    name = directory / "name"
    name.touch()
    made = janitor.Janitor("chat", [str(name)], [])
    (pid,) = janitors(directory)
    os.kill(pid, signal.SIGSTOP)
    os.write(made.descriptor, b"x")  # it leaves that unread, which resets the connection
    os.kill(pid, signal.SIGKILL)
    assert made.finish()
    assert name.exists()
