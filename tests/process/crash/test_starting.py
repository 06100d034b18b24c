"""The guard of a start (R28). tests/integration/test_start_crashes.py has whole servers."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

BEGINNING = """\
import ctypes, faulthandler, os, signal, sys
from dorrit.process.crash import _crash
from dorrit.process.crash.starting import Guard

directory = sys.argv[1]
paths = [f"{directory}/{name}" for name in ("a", "b", "c")]
for path in paths[:2]:
    open(path, "w").close()
guard = Guard()
guard.watch(paths)
"""


def run(directory: Path, code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(code), directory],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_R28_a_crash_removes_what_was_made_and_leaves_a_traceback(directory: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    ended = subprocess.run(
        [sys.executable, "-c", BEGINNING + f"guard.watch(paths, {writing}); ctypes.string_at(0)",
         directory], capture_output=True, text=True, timeout=60, check=False, pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    assert ended.returncode == -signal.SIGSEGV
    assert ended.stderr.startswith("Fatal Python error: Segmentation fault\n")
    assert left(directory) == []
    assert os.read(reading, 10) == b"."
    os.close(reading)


def test_R28_what_has_become_another_file_stays(directory: Path) -> None:
    code = """
    os.rename(paths[0], paths[2])  # so that its inode is not used again
    open(paths[0], "w").close()
    ctypes.string_at(0)
    """
    assert run(directory, code).returncode == -signal.SIGSEGV
    assert left(directory) == ["a", "c"]


def test_R28_a_child_that_crashes_removes_nothing(directory: Path) -> None:
    code = """
    child = os.fork()
    if child == 0:
        ctypes.string_at(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    ended = run(directory, code)
    assert ended.stdout == f"{-signal.SIGSEGV}\n"
    assert left(directory) == ["a", "b"]


def test_R28_what_is_forgotten_stays(directory: Path) -> None:
    assert run(directory, "guard.forget(); ctypes.string_at(0)").returncode == -signal.SIGSEGV
    assert left(directory) == ["a", "b"]


def test_R28_afterwards_all_is_as_it_was_before(directory: Path) -> None:
    code = """
    guard.close()
    print(faulthandler.is_enabled(), _crash.disposition(signal.SIGSEGV).is_default)
    """
    assert run(directory, code).stdout == "False True\n"


def test_R28_a_faulthandler_of_the_servers_own_is_left_to_it(directory: Path) -> None:
    code = """
    faulthandler.enable(open(paths[2], "w"))
    guard.release_signals()
    print(faulthandler.is_enabled())
    ctypes.string_at(0)
    """
    ended = run(directory, code)
    assert (ended.stdout, ended.stderr) == ("", "") or ended.stdout == "True\n"
    assert ended.stderr == ""
    assert (directory / "c").read_text().startswith("Fatal Python error: Segmentation fault\n")


def test_R28_a_handler_of_the_servers_own_stays(directory: Path) -> None:
    code = """
    signal.signal(signal.SIGFPE, signal.SIG_IGN)
    guard.close()
    print(signal.getsignal(signal.SIGFPE) is signal.SIG_IGN)
    """
    assert run(directory, code).stdout == "True\n"


def test_R28_a_handler_that_has_come_meanwhile_stays(directory: Path) -> None:
    code = """
    signal.signal(signal.SIGBUS, lambda *_: print("handled", flush=True))
    signal.signal(signal.SIGILL, signal.SIG_IGN)
    guard.release_signals()
    os.kill(os.getpid(), signal.SIGBUS)
    os.kill(os.getpid(), signal.SIGILL)
    print(_crash.disposition(signal.SIGSEGV).is_default)
    """
    assert run(directory, code).stdout == "handled\nTrue\n"
