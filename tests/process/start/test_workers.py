"""What a supervisor gives to a worker, and how little of that a process believes that is none."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dorrit.process.exec.command import Command
from dorrit.process.exec.descriptors import inheritable_descriptors
from dorrit.process.start.workers import (
    NOT_RUN,
    OOM_SCORE,
    VARIABLE,
    SupervisedSettings,
    WorkerFiles,
    start_worker,
)

TELLS = """
import json, os, signal, socket, sys
from pathlib import Path
from dorrit.process.start.workers import WorkerFiles
variable = "DORRIT_WORKER" in os.environ
files = WorkerFiles.inherited()
channel = socket.socket(fileno=files.channel)
channel.setblocking(True)
channel.sendall(json.dumps({
    "variable": [variable, "DORRIT_WORKER" in os.environ],
    "inheritable": [os.get_inheritable(number) for number in files],
    "files": [os.readlink(f"/proc/self/fd/{number}") for number in files[1:]],
    "open": [int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")],
    "environment": {name: os.environ.get(name) for name in ("KEPT", "DROPPED")},
    "directory": os.getcwd(),
    "umask": os.umask(0),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "ignored": [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
    "oom": int(Path("/proc/self/oom_score_adj").read_text()),
}).encode())
"""


@pytest.fixture
def given() -> Iterator[tuple[WorkerFiles, int]]:
    made = WorkerFiles.new()
    yield made
    for descriptor in (*made[0], made[1]):
        with suppress(OSError):
            os.close(descriptor)


def command(directory: Path, *words: str, program: str = sys.executable) -> Command:
    environment = {**os.environ, "KEPT": "1", "DROPPED": "1"}
    return Command(
        program=program,
        arguments=words,
        environment=tuple(os.fsencode(f"{name}={value}") for name, value in environment.items()),
        directory=str(directory),
        umask=0o027,
        files=(),
        descriptors=frozenset(),
        ignored=frozenset({signal.SIGUSR1}),
    )


def test_W1_a_worker_is_as_the_command_was_and_has_nothing_else(
    tmp_path: Path, given: tuple[WorkerFiles, int]
) -> None:
    files, ours = given
    opened = os.open(os.devnull, os.O_RDONLY)
    passed_on = inheritable_descriptors()  # whoever runs the tests has left them open
    handlers = [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGUSR1, signal.SIGUSR2)]
    before = int(Path("/proc/self/oom_score_adj").read_text())
    try:
        pid = start_worker(
            command(tmp_path, "-c", TELLS),
            files,
            ahead=False,
            without=("DROPPED",),
            blocked={signal.SIGTERM},
        )
        os.close(files.channel)
        with socket.socket(fileno=os.dup(ours)) as channel:
            channel.settimeout(60)
            told = b""
            while data := channel.recv(65536):
                told += data
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(opened)
        for number, handler in zip((signal.SIGUSR1, signal.SIGUSR2), handlers, strict=True):
            signal.signal(number, handler)
    said = json.loads(told)
    assert set(said.pop("open")) - {*passed_on} == {0, 1, 2, *files}
    assert said == {
        "variable": [True, False],
        "inheritable": [False] * 4,
        "files": [f"/memfd:dorrit-{n} (deleted)" for n in ("connections", "carried", "traceback")],
        "environment": {"KEPT": "1", "DROPPED": None},
        "directory": str(tmp_path),
        "umask": 0o027,
        "blocked": [signal.SIGTERM],
        # Python itself ignores two of them.
        "ignored": sorted({signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ}),
        "oom": min(1000, before + OOM_SCORE),
    }


def test_a_program_that_can_not_be_run_is_said_and_ends_the_process(
    tmp_path: Path, given: tuple[WorkerFiles, int], capfd: pytest.CaptureFixture[str]
) -> None:
    pid = start_worker(
        command(tmp_path, program=str(tmp_path / "none")),
        given[0],
        ahead=False,
        without=(),
        blocked=(),
    )
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == NOT_RUN
    said = f"dorrit: {tmp_path}/none can't be run: No such file or directory\n"
    assert capfd.readouterr().err == said


def test_a_worker_runs_elsewhere_when_its_directory_is_gone(
    tmp_path: Path, given: tuple[WorkerFiles, int]
) -> None:
    gone = tmp_path / "gone"
    pid = start_worker(
        command(gone, "-c", "raise SystemExit(7)"), given[0], ahead=False, without=(), blocked=()
    )
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize(
    "value",
    ["", "1", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,2,3,4", "9999,9999,9999,9999", "0,1,2,3",
     "1,2,3,4\n", "99999999999,1,2,3", "\u0661,2,3,4"],
)  # fmt: skip
def test_what_is_no_channel_is_ignored_with_a_warning(value: str) -> None:
    code = "from dorrit.process.start.workers import WorkerFiles; print(WorkerFiles.inherited())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {VARIABLE: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "None\n"
    assert ended.stderr == f"{VARIABLE} is in the environment by mistake and ignored\n"


def test_a_channel_that_somebody_else_has_made_is_none(tmp_path: Path) -> None:
    # Its parent is the shell, and not who has made the pair of sockets.
    code = "from dorrit.process.start.workers import WorkerFiles; print(WorkerFiles.inherited())"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        ended = subprocess.run(
            ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code],
            env=os.environ | {VARIABLE: f"{number},{number},{number},{number}"},
            pass_fds=[number],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.stdout == "None\n"
    assert "by mistake" in ended.stderr


def test_what_a_worker_says_of_its_settings_is_read_again() -> None:
    settings = SupervisedSettings(no_restart=True, preload=True, end_timeout=25.5)
    text = json.dumps({"other": 1, "settings": settings._asdict()}).encode()
    assert SupervisedSettings.decoded(text) == settings


def test_settings_of_another_release_are_those_that_this_one_knows() -> None:
    text = json.dumps({"settings": {"no_restart": True, "unheard_of": 1}}).encode()
    assert SupervisedSettings.decoded(text) == SupervisedSettings(no_restart=True)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"no_restart": 1, "preload": False, "end_timeout": 1.0},
        {"no_restart": False, "preload": None, "end_timeout": 1.0},
        {"no_restart": False, "preload": False, "end_timeout": "1"},
        {"no_restart": False, "preload": False, "end_timeout": True},
        {"no_restart": False, "preload": False, "end_timeout": -1.0},
        {"no_restart": False, "preload": False, "end_timeout": float("nan")},
        {"no_restart": False, "preload": False, "end_timeout": float("inf")},
        1,
    ],
)
def test_settings_that_can_not_be_are_no_settings(said: object) -> None:
    with pytest.raises(ValueError, match="settings"):
        SupervisedSettings.decoded(json.dumps({"settings": said}).encode())


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"[]", b"{}", b"1"])
def test_what_has_no_settings_is_said_to_have_none(text: bytes) -> None:
    with pytest.raises(ValueError, match="settings"):
        SupervisedSettings.decoded(text)
