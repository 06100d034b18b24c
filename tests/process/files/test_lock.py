"""The lock that is held for as long as the server lives (R24, R25). These tests need root."""

import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dorrit.errors import StartError
from dorrit.process.files import lock as lock_module
from dorrit.process.files.lock import HeldError, Lock
from tests.support import proc
from tests.support.children import run_python
from tests.support.locks import holder

NOBODY = 65534

BEGINNING = """\
import os, sys, time
from dorrit.errors import StartError
from dorrit.process.files import lock as lock_module
from dorrit.process.files.lock import Lock

lock_module.TIMEOUT = 60  # the holder may be slow to write its pid
path = sys.argv[1]

def say(*words):
    os.write(1, " ".join([*map(str, words), "\\n"]).encode())  # in one piece

def hear():
    return sys.stdin.readline()
"""


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "lock"


class Other:
    """Another process, which says something and waits until it is let go."""

    def __init__(self, code: str, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + textwrap.dedent(code), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def other(code: str, path: Path) -> Iterator[Other]:
    made = Other(code, path)
    try:
        yield made
    finally:
        proc.end_group(made.process)


HOLD = "lock = Lock(path); lock.write(); say('held'); hear(); lock.close(); say('free'); hear()"


def leave(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def test_R24_the_file_says_who_holds_it_and_goes_with_the_lock(path: Path) -> None:
    with Lock(path) as lock:
        assert path.read_text() == ""
        assert holder(path) is None
        lock.write()
        assert path.read_text() == f"{os.getpid()}\n"
        assert holder(path) == os.getpid()
        assert not os.get_inheritable(lock.descriptor)
    assert not path.exists()
    assert holder(path) is None
    assert lock.close()  # again


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_R24_only_its_owner_can_read_it(path: Path, umask: int) -> None:
    # Who can read it could lock it, and keep a server from starting.
    before = os.umask(umask)
    try:
        with Lock(path):
            assert path.stat().st_mode == 0o100600
    finally:
        os.umask(before)


def test_R24_a_live_holder_is_left_alone_and_named(path: Path) -> None:
    with other(HOLD, path) as first:
        assert first.said() == "held"
        before = path.stat()
        with pytest.raises(HeldError) as caught:
            Lock(path)
        pid = first.process.pid
        assert caught.value.pid == pid
        assert str(caught.value) == f"{path}: locked by process {pid}; stop it first"
        assert path.stat() == before
        assert path.read_text() == f"{pid}\n"
        assert holder(path) == pid
        first.go_on()
        assert first.said() == "free"
        Lock(path).close()


def test_R24_after_kill_9_the_file_stays_and_is_taken_again(path: Path) -> None:
    with other(HOLD, path) as first:
        assert first.said() == "held"
        first.process.kill()
        first.process.wait()
    assert path.exists()
    assert holder(path) is None
    with Lock(path) as lock:
        assert path.read_text() == ""
        lock.write()
        assert holder(path) == os.getpid()


@pytest.mark.parametrize(
    "text",
    [
        "",
        pytest.param(f"{os.getpid()}\n", id="our pid"),
        "1\n",
        "garbage",
        pytest.param("9" * 5000, id="9 and so on"),
        "-1\n",
    ],
)
def test_R24_a_file_that_nobody_has_locked_is_stale_whatever_it_says(path: Path, text: str) -> None:
    leave(path, text)
    inode = path.stat().st_ino
    with Lock(path) as lock:
        lock.write()
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_ino == inode


def test_R24_a_holder_that_is_just_ending_is_waited_for(path: Path) -> None:
    code = """
    lock = Lock(path)
    say("held")
    hear()
    lock.close()
    """
    with other(code, path) as first:
        assert first.said() == "held"
        # This one waits, since the file names nobody; the other goes on as soon as it does.
        with other("say('soon'); Lock(path).write(); say('held')", path) as second:
            assert second.said() == "soon"
            first.go_on()
            assert second.said() == "held"


def test_R24_a_holder_that_says_nothing_is_not_waited_for_for_ever(path: Path) -> None:
    with other("lock = Lock(path); say('held'); hear()", path) as first:
        assert first.said() == "held"
        with pytest.raises(HeldError, match=r"locked by another process; stop it first$") as caught:
            Lock(path)
        assert caught.value.pid is None


def test_R24_a_symbolic_link_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("as it was")
    path.symlink_to(target)
    with pytest.raises(StartError, match=r"it is a symbolic link; it was left as it is$"):
        Lock(path)
    assert path.is_symlink()
    assert target.read_text() == "as it was"
    target.unlink()
    with pytest.raises(StartError, match=r"it is a symbolic link; it was left as it is$"):
        Lock(path)
    assert not target.exists()


def test_R24_a_second_name_of_another_file_does_that_file_no_harm(path: Path) -> None:
    target = path.with_name("target")
    leave(target, "as it was")
    path.hardlink_to(target)
    with Lock(path) as lock:
        lock.write()
        assert path.stat().st_ino != target.stat().st_ino
    assert target.read_text() == "as it was"


@pytest.mark.root
@pytest.mark.parametrize("kind", ["another user's", "for others to write", "for a group to write"])
def test_R24_a_file_that_others_can_write_is_replaced(path: Path, kind: str) -> None:
    leave(path, "1\n")
    if kind == "another user's":
        os.chown(path, NOBODY, 0)
    else:
        path.chmod(0o602 if "others" in kind else 0o620)
    with path.open("r+") as theirs, Lock(path) as lock:
        lock.write()
        theirs.write("66666")
        theirs.flush()
        assert path.read_text() == f"{os.getpid()}\n"
        status = path.stat()
        assert (status.st_uid, status.st_mode) == (os.geteuid(), 0o100600)


def test_R24_what_is_no_regular_file_is_left(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StartError, match=f"^{path}: Is a directory$"):
        Lock(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(StartError, match=f"^{path}: it is not a regular file; it was left"):
        Lock(path)
    assert path.is_fifo()


@pytest.mark.root
def test_R24_a_directory_that_is_missing_or_not_writable_is_one_line(path: Path) -> None:
    path.touch()
    with pytest.raises(StartError, match=f"^{path}/none: Not a directory$"):
        Lock(path / "none")
    path.parent.chmod(0o755)
    code = f"""
    try:
        os.setuid({NOBODY})
        Lock(path + "2")
    except StartError as error:
        say(error)
    """
    with other(code, path) as stranger:
        assert stranger.said() == f"{path}2: Permission denied"


def test_R22_the_end_of_the_process_that_took_it_does_not_free_it(path: Path) -> None:
    # As when it becomes a daemon: fork, and the parent ends by _exit(2).
    code = """
    lock = Lock(path)
    lock.write()
    if os.fork():
        os._exit(0)
    while os.getppid() == int(open(path).read()):
        time.sleep(0.001)
    lock.write()
    say(os.getpid())
    hear()
    lock.close()
    say("free")
    """
    with other(code, path) as first:
        daemon = int(first.said())
        assert first.process.wait() == 0
        assert holder(path) == daemon
        with pytest.raises(HeldError, match=f"locked by process {daemon};"):
            Lock(path)
        first.go_on()
        assert first.said() == "free"
        Lock(path).close()


def test_R24_a_process_forked_off_the_holder_does_not_remove_it(path: Path) -> None:
    with Lock(path) as lock:
        lock.write()
        child = os.fork()
        if child == 0:
            lock.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert path.read_text() == f"{os.getpid()}\n"
        assert holder(path) == os.getpid()


def test_R29_the_next_image_goes_on_with_it(path: Path) -> None:
    code = """
    if len(sys.argv) == 2:
        lock = Lock(path)
        lock.write()
        os.set_inheritable(lock.descriptor, True)
        os.execv(sys.executable, [*sys.orig_argv, str(lock.descriptor)])
    lock = Lock.adopt(int(sys.argv[2]), path)
    say(os.get_inheritable(lock.descriptor))
    hear()
    lock.close()
    say("free")
    hear()
    """
    with other(code, path) as first:
        # Between the two images, too, nobody gets it.
        told = []
        while not told or not select.select([first.process.stdout], [], [], 0)[0]:
            if path.exists() and path.read_text():
                with pytest.raises(HeldError, match=f"locked by process {first.process.pid};"):
                    Lock(path)
                told.append(holder(path))
            assert first.process.poll() is None
        assert set(told) == {first.process.pid}
        assert first.said() == "False"
        first.go_on()
        assert first.said() == "free"
        assert not path.exists()


def test_R29_what_is_no_lock_is_not_adopted(path: Path) -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(StartError, match=r"it is not a regular file; it was left as it is$"):
            Lock.adopt(reader, path)
    finally:
        os.close(reader)
        os.close(writer)
    with pytest.raises(StartError, match=f"^{path}: Bad file descriptor$"):
        Lock.adopt(reader, path)
    with other(HOLD, path) as first:
        assert first.said() == "held"
        with path.open("r+") as file, pytest.raises(HeldError):
            Lock.adopt(file.fileno(), path)


@pytest.mark.root
def test_R27_in_a_directory_of_its_own_the_user_can_remove_what_root_has_made(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)
    code = f"""
    lock = Lock(path)
    lock.write()
    os.setuid({NOBODY})
    say(lock.close())
    """
    with other(code, path) as first:
        assert first.said() == "True"
    assert not path.exists()


def test_R24_a_file_that_has_taken_its_place_is_left(path: Path) -> None:
    with Lock(path) as lock:
        lock.write()
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"
    with Lock(path.with_name("gone")) as lock:
        path.with_name("gone").unlink()
    assert lock.close()


@pytest.mark.root
def test_R27_who_has_given_up_the_privileges_can_neither_remove_nor_change_it(path: Path) -> None:
    code = f"""
    lock = Lock(path)
    lock.write()
    os.setuid({NOBODY})
    try:
        os.pwrite(lock.descriptor, b"1", 0)
    except OSError as error:
        say(error.strerror)
    say(lock.close())
    hear()
    """
    with other(code, path) as first:
        assert first.said() == "Bad file descriptor"
        assert first.said() == "False"
        assert path.read_text() == f"{first.process.pid}\n"
        assert holder(path) is None
        Lock(path).close()  # although the other process is still there
    assert not path.exists()


def test_R24_of_servers_that_start_at_once_exactly_one_wins(path: Path) -> None:
    # 20 processes, all waiting for the same moment.
    code = """
    ready, start = os.pipe(), os.pipe()
    for _ in range(20):
        if os.fork() == 0:
            os.close(start[1])
            os.write(ready[1], b".")
            os.read(start[0], 1)
            try:
                lock = Lock(path)
                lock.write()
            except StartError as error:
                word = f"lost to {error.pid}"
            else:
                word = f"won {os.getpid()}"
            say(word)
            time.sleep(60)
    for _ in range(20):
        os.read(ready[0], 1)
    os.close(start[0])
    os.close(start[1])
    hear()
    """
    for number in range(10):
        path.unlink(missing_ok=True)
        if number % 2:
            leave(path, f"{2**31 - 1}\n")  # no process has this pid
        with other(code, path) as all_of_them:
            said = [all_of_them.said() for _ in range(20)]
            winners = [words.split()[1] for words in said if words.startswith("won ")]
            assert len(winners) == 1, said
            assert sorted(said) == sorted([f"won {winners[0]}", *[f"lost to {winners[0]}"] * 19])
            assert holder(path) == int(winners[0])


def test_R24_never_are_two_in_while_many_come_and_go(path: Path) -> None:
    # Each removes the file when it leaves, while others have just opened it.
    code = """
    def take():
        while True:
            try:
                return Lock(path)
            except StartError as error:
                assert "locked by" in str(error), error

    for _ in range(8):
        if os.fork() == 0:
            for _ in range(100):
                lock = take()
                lock.write()
                os.close(os.open(path + ".inside", os.O_CREAT | os.O_EXCL))
                os.sched_yield()
                os.unlink(path + ".inside")
                lock.close()
            os._exit(0)
    say(*[os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(8)])
    """
    with other(code, path) as all_of_them:
        assert all_of_them.said() == " ".join(["0"] * 8)
    assert not path.exists()


@pytest.mark.root
def test_R24_a_file_that_another_user_makes_again_and_again_is_an_error(path: Path) -> None:
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(StartError, match="another user makes it again and again"):
            lock_module._take(descriptor, str(path), late=True)
        assert path.exists()
    finally:
        os.close(descriptor)


def test_R24_no_pid_is_written_to_a_file_that_has_taken_its_place(path: Path) -> None:
    with Lock(path) as lock:
        other_file = path.with_name("other")
        other_file.write_text("precious")
        other_file.replace(path)
        with pytest.raises(StartError, match="No such file"):
            lock.write()
        assert path.read_text() == "precious"


def test_R24_a_process_is_alive_whosever_it_is(path: Path) -> None:
    assert not lock_module._is_alive(2**22 + 5)  # more than Linux gives
    told = run_python(
        """
        from dorrit.process.files.lock import _is_alive
        become_nobody()
        print(_is_alive(1))
        """
    )
    assert told == "True\n"


def test_R24_a_lock_of_a_file_that_was_removed_meanwhile_is_none(path: Path) -> None:
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        path.unlink()
        path.touch()
        assert not lock_module._take(descriptor, str(path), late=False)
    finally:
        os.close(descriptor)
