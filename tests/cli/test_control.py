"""``dorrit status``, ``stop`` and ``restart``: what they say, and their exit statuses."""

import argparse
import contextlib
import fcntl
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dorrit.cli import status as status_command
from dorrit.cli import stop as stop_command
from dorrit.process.control.status import Status
from dorrit.process.files.paths import DIRECTORY
from tests.process.running import status_server
from tests.support.children import NOBODY
from tests.support.servers import TIMEOUT, until
from tests.support.status_servers import Started, status_servers

COMMANDS = """\
import os, sys
from dorrit.cli import restart, status, stop
from dorrit.errors import StartError
from dorrit.settings import CommandLine

parser = CommandLine(prog="dorrit")
commands = parser.add_subparsers(required=True)
for module in (restart, status, stop):
    module.add_parser(commands)
uid = int(sys.argv[1])
if uid:  # only now: the interpreter may be root's alone
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
try:
    arguments = parser.parse_args(sys.argv[2:])
    sys.exit(arguments.func(arguments))
except StartError as error:
    sys.stderr.write(f"dorrit: {error}\\n")
    sys.exit(error.status)
"""


class Result:
    """What a command has said, and its exit status."""

    def __init__(self, *words: str, uid: int = 0) -> None:
        process = subprocess.run(
            [sys.executable, "-c", COMMANDS, str(uid), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr


@pytest.fixture
def name() -> Iterator[str]:
    """A name of the test's own in /var/run."""
    made = f"dorrit-test-{secrets.token_hex(4)}"
    yield made
    for path in Path(DIRECTORY).glob(f"{made}.*"):
        path.unlink()


@pytest.fixture
def path(name: str) -> str:
    return f"{DIRECTORY}/{name}.socket"


@pytest.fixture
def start(name: str, path: str) -> Iterator[Callable[..., Started]]:
    with status_servers(DIRECTORY, name, path, cwd="/tmp") as run:
        yield run


# status


@pytest.mark.root
def test_status_says_all_that_is_known(name: str, path: str, start: Callable[..., Started]) -> None:
    process = start("pid")
    for target in (name, path):
        result = Result("status", target)
        assert result.status == 0, result.err
        assert result.err == ""
        lines = result.out.splitlines()
        assert lines[0] == f"{target}: running as process {process.pid}"
        up = lines.pop(5)
        assert re.fullmatch(
            r"up {10}\d+ days \d\d?:\d\d:\d\d, since 2023-11-1[45] \d\d:\d\d:20", up
        )
        assert lines[1:] == [
            f"name        {name}",
            "user        somebody",
            "group       users",
            f"socket      {path}",
            "connections 7",
            "crashes     2",
            "version     9.8.7",
        ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0:00:00"),
        (59.9, "0:00:59"),
        (3661, "1:01:01"),
        (86399, "23:59:59"),
        (86400, "1 day 0:00:00"),
        (10 * 86400 + 3600, "10 days 1:00:00"),
    ],
)
def test_status_says_for_how_long(seconds: float, text: str) -> None:
    status = Status(
        name="a", pid=1, user="u", group="g", socket="/s", started=1_000_000_000.0,
        connections=0, restarts=0, version="1",
    )  # fmt: skip
    described = status_command._described(status, status.started + seconds)
    assert f"\nup          {text}, since " in described


STATUS = Status(
    name="a", pid=1, user="u", group="g", socket="/s", started=1_000_000_000.0,
    connections=9, restarts=2, version="1",
)  # fmt: skip


def rows(**values: Any) -> list[str]:
    """What is said of a server from its connections on."""
    status = STATUS._replace(**values)
    lines = status_command._described(status, status.started).splitlines()
    return lines[5:-1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"last_restart": "crash", "carried": 7, "carried_in": 0.126},
         "after a crash, with 7 connections in 0.13 seconds"),
        ({"last_restart": "reload", "carried": 1, "carried_in": 2, "lost": 1},
         "by a reload, with 1 connection in 2.00 seconds; 1 was lost"),
        ({"last_restart": "crash", "lost": 12},
         "after a crash, with 0 connections in 0.00 seconds; 12 were lost"),
    ],
)  # fmt: skip
def test_L3_status_says_what_the_last_restart_was_and_what_it_has_cost(
    values: dict[str, Any], said: str
) -> None:
    assert rows(**values) == ["connections 9", "crashes     2", f"restarted   {said}"]


def test_L8_status_says_how_many_a_crash_would_end() -> None:
    assert rows()[0] == "connections 9"
    assert rows(unrecorded=2)[0] == "connections 9, 2 of which a crash would end"
    assert rows(unrecorded=9)[0] == "connections 9, all of which a crash would end"


@pytest.mark.root
def test_status_of_a_server_whose_socket_is_elsewhere_says_how_to_ask(
    name: str, start: Callable[..., Started], directory: Path
) -> None:
    process = start("pid", path=str(directory / "x.socket"))
    result = Result("status", name)
    assert result.status == 0
    assert result.out == (
        f"{name}: running as process {process.pid}\n"
        f"{name}: no more is known: its socket has another path, which says more: dorrit status "
        "PATH\n"
    )


def test_status_3_is_not_running(name: str, path: str) -> None:
    result = Result("status", name)
    assert (result.status, result.out, result.err) == (3, f"{name}: not running\n", "")
    assert Result("status", path).status == 3


@pytest.mark.root
def test_status_1_is_dead_and_its_files_are_left(
    name: str, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid")
    process.kill()
    process.wait()
    result = Result("status", name)
    assert result.status == 1
    assert result.out == (
        f"{name}: not running; process {process.pid} has ended and left {DIRECTORY}/{name}.pid\n"
    )
    assert Result("status", path).status == 1


@pytest.mark.root
def test_status_4_is_unknown(name: str, path: str, start: Callable[..., Started]) -> None:
    start("pid", "nobody")
    for target in (name, path):
        told = Result("status", target, uid=NOBODY - 1)
        assert (told.status, told.out) == (4, "")
        assert told.err == (
            f"dorrit: {DIRECTORY}/{name}.status: permission denied: only the server's user and "
            "root may ask\n"
        )


def test_the_servers_own_user_may_ask_by_its_name_and_by_its_path(
    name: str, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "nobody")
    for target in (name, path):
        told = Result("status", target, uid=NOBODY)
        assert (told.status, told.err) == (0, "")
        assert told.out.splitlines()[:2] == [
            f"{target}: running as process {process.pid}",
            f"name        {name}",
        ]
    stopped = Result("stop", name, uid=NOBODY)
    assert (stopped.status, stopped.out) == (0, f"{name}: stopped process {process.pid}\n")
    assert process.wait(TIMEOUT) == 0


def test_the_servers_own_user_is_told_to_ask_by_its_path(
    name: str, directory: Path, start: Callable[..., Started]
) -> None:
    start("pid", "nobody", path=str(directory / "elsewhere.socket"))
    directory.chmod(0o755)
    told = Result("status", name, uid=NOBODY)
    assert (told.status, told.out) == (4, "")
    assert told.err == (
        f"dorrit: {DIRECTORY}/{name}.pid: permission denied: only root may read it; if the server "
        "listens elsewhere, give the path of its socket for its name\n"
    )
    assert Result("status", str(directory / "elsewhere.socket"), uid=NOBODY).status == 0


def test_O5_status_150_is_a_server_that_hangs(
    name: str, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid")
    process.send_signal(signal.SIGSTOP)
    silence = f"{DIRECTORY}/{name}.status: no answer within 5 seconds\n"
    told = Result("status", name)
    assert (told.status, told.err) == (150, "")
    assert told.out == (
        f"{name}: running as process {process.pid}\n{name}: no more is known: {silence}"
    )
    told = Result("status", path)
    assert (told.status, told.out, told.err) == (150, silence, "")
    process.send_signal(signal.SIGCONT)
    assert Result("status", name).status == 0


def test_R27_stop_gives_a_server_that_hangs_a_part_of_its_timeout_to_answer(
    name: str, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid")
    process.send_signal(signal.SIGSTOP)
    told = Result("stop", path, "--timeout=3")
    assert (told.status, told.err) == (
        4, f"dorrit: {DIRECTORY}/{name}.status: no answer within 1.5 seconds\n",
    )  # fmt: skip
    told = Result("stop", name, "--timeout=3")
    assert told.status == 1
    assert told.err.endswith(
        f": process {process.pid} was told to stop and has not ended within 3 seconds\n"
    )
    process.send_signal(signal.SIGCONT)
    assert process.wait(TIMEOUT) == 0  # as it was told


@pytest.mark.parametrize(("timeout", "answer", "left"), [("30", 5, 26), ("6", 3, 2), ("1", 1, 0)])
def test_R27_what_it_takes_to_find_the_server_counts(
    monkeypatch: pytest.MonkeyPatch, timeout: str, answer: float, left: float
) -> None:
    seen = []
    clock = iter([100.0, 104.0])

    class Found(contextlib.nullcontext[None]):
        process = argparse.Namespace(pid=7)

        def __enter__(self) -> Any:
            return self

        def stop(self, timeout: float, *, now: bool) -> bool:
            seen.append(timeout)
            return not now

    def find(_name: str, *, timeout: float) -> Any:
        seen.append(timeout)
        return Found()

    monkeypatch.setattr(stop_command, "find", find)
    monkeypatch.setattr(stop_command, "time", argparse.Namespace(monotonic=lambda: next(clock)))
    parser = argparse.ArgumentParser()
    stop_command.add_arguments(parser)
    assert stop_command.run(parser.parse_args(["chat", "--timeout", timeout])) == 0
    assert seen == [answer, left]


@pytest.mark.parametrize("command", ["status", "stop", "restart"])
def test_status_2_is_a_wrong_command_line(command: str) -> None:
    for words, reason in [
        ([], "the following arguments are required: NAME; see dorrit "),
        (["a/b"], "'a/b' is neither a server's name nor the absolute path of a socket"),
        ([""], "'' is neither a server's name nor the absolute path of a socket"),
    ]:
        result = Result(command, *words)
        assert result.status == 2
        assert result.err.count("\n") == 1
        assert reason in result.err


@pytest.mark.parametrize("value", ["-1", "x", "nan", "inf", "86401", ""])
def test_a_timeout_that_cannot_be_is_a_wrong_command_line(value: str) -> None:
    result = Result("stop", "chat", f"--timeout={value}")
    assert result.status == 2
    assert f"{value!r} is not a number of seconds from 0 to 86400" in result.err


# stop


@pytest.mark.root
def test_R27_stop_says_what_happened(name: str, start: Callable[..., Started]) -> None:
    process = start("pid", "nobody", "janitor")
    result = Result("stop", name)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"{name}: stopped process {process.pid}\n"
    assert process.wait(TIMEOUT) == 0
    again = Result("stop", name)
    assert (again.status, again.out, again.err) == (0, f"{name}: not running\n", "")


@pytest.mark.root
def test_R27_stop_by_the_path_of_the_socket(path: str, start: Callable[..., Started]) -> None:
    process = start("nobody")
    result = Result("stop", path, uid=NOBODY)
    assert (result.status, result.err) == (0, "")
    assert process.wait(TIMEOUT) == 0


@pytest.mark.root
def test_R27_stop_says_when_a_server_does_not_end_in_time(
    name: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "linger")
    result = Result("stop", name, "--timeout", "0.1")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        f"dorrit: {name}: process {process.pid} was told to stop and has not ended within 0.1 "
        "seconds\n"
    )
    assert process.poll() is None


@pytest.mark.root
def test_R27_stop_now_is_a_second_signal(name: str, start: Callable[..., Started]) -> None:
    process = start("pid", "linger")
    assert Result("stop", name, "--now").status == 0
    assert process.wait(TIMEOUT) == 0


@pytest.mark.root
def test_stop_leaves_alone_what_may_be_something_else(name: str) -> None:
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        file = Path(DIRECTORY) / f"{name}.pid"
        file.write_text(f"{bystander.pid}\n")
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            result = Result("stop", name)
        assert result.status == 4
        assert "does not hold its lock: it is left alone" in result.err
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.root
def test_stop_without_permission_is_4(path: str, start: Callable[..., Started]) -> None:
    process = start()
    result = Result("stop", path, uid=NOBODY)
    assert result.status == 4
    assert "permission denied" in result.err
    assert process.poll() is None


# restart


def pid_in(name: str) -> int:
    text = (Path(DIRECTORY) / f"{name}.pid").read_text()
    return int(text or "0")


@pytest.mark.root
@pytest.mark.parametrize("crashed", [False, True])
def test_restart_runs_the_same_command_in_the_same_directory(
    name: str, path: str, start: Callable[..., Started], crashed: bool
) -> None:
    process = start("pid", "record")
    if crashed:
        process.kill()
        process.wait()
        Path(path).unlink()
    # The stand-in stays in the foreground, so the command does not return: we stop that one, too.
    restart = subprocess.Popen(
        [sys.executable, "-c", COMMANDS, "0", "restart", name],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"MINE": "the caller's"},
    )
    try:
        assert restart.stdout is not None
        told = restart.stdout.readline()
        if crashed:
            assert told.startswith(f"{name}: not running; process {process.pid} has ended")
        else:
            assert told == f"{name}: stopped process {process.pid}\n"
            assert process.wait(TIMEOUT) == 0
        assert restart.stdout.readline() == "ready\n"
        pid = pid_in(name)
        assert pid != process.pid
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:]
        assert [os.fsdecode(word) for word in words] == [
            status_server.__file__, DIRECTORY, name, path, "pid", "record", "",
        ]  # fmt: skip
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/tmp")
        assert b"MINE=the caller's" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert Result("stop", name).status == 0
        assert restart.wait(TIMEOUT) == 0
    finally:
        restart.kill()
        restart.wait()
        assert restart.stdout is not None
        restart.stdout.close()


@pytest.mark.root
def test_restart_leaves_a_server_in_the_foreground_alone(
    name: str, path: str, start: Callable[..., Started]
) -> None:
    process = start("pid")
    for target in (name, path):
        result = Result("restart", target)
        assert (result.status, result.out) == (1, "")
        assert "a server in the foreground is restarted by whoever started it" in result.err
    assert process.poll() is None


@pytest.mark.root
def test_restart_does_not_run_as_root_what_the_servers_user_may_have_written(
    name: str, start: Callable[..., Started], directory: Path
) -> None:
    process = start("pid", "record")
    os.chown(Path(DIRECTORY) / f"{name}.command", NOBODY, NOBODY)
    result = Result("restart", name)
    assert result.status == 1
    assert "somebody else may have written this; its command was not run" in result.err
    assert process.poll() is None


@pytest.mark.root
def test_restart_says_when_the_command_cannot_be_run(
    name: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "record")
    record = Path(DIRECTORY) / f"{name}.command"
    record.write_text(record.read_text().replace(sys.executable, "/nonexistent/python"))
    why = f"dorrit: {name}: can't run /nonexistent/python in /tmp: No such file or directory\n"
    result = Result("restart", name)
    assert (result.status, result.out, result.err) == (1, "", why)
    assert process.poll() is None
    text = record.read_text()
    for said in (f"{name}: stopped process {process.pid}\n", f"{name}: not running\n"):
        result = Result("restart", name, "--no-check")
        assert (result.status, result.out, result.err) == (1, said, why)
        assert record.read_text() == text  # it can be done again, when that is mended


def test_O4_restart_leaves_a_server_alone_whose_command_has_a_mistake(
    name: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "record")
    record = Path(DIRECTORY) / f"{name}.command"
    record.write_text(record.read_text().replace(status_server.__file__, "/nonexistent.py"))
    result = Result("restart", name)
    assert result.status == 1
    assert "can't open file" in result.err
    assert result.err.endswith(f"dorrit: {name}: not restarted: process {process.pid} goes on\n")
    assert process.poll() is None


def test_O4_restart_without_a_check_ends_as_the_command_does_and_can_be_done_again(
    name: str, start: Callable[..., Started]
) -> None:
    start("pid", "record")
    record = Path(DIRECTORY) / f"{name}.command"
    record.write_text(record.read_text().replace(status_server.__file__, "/nonexistent.py"))
    text = record.read_text()
    for _ in range(2):
        result = Result("restart", name, "--no-check")
        assert result.status == 2
        assert "can't open file" in result.err
        assert record.read_text() == text


def test_O4_a_command_that_does_not_say_that_it_passes_the_check_does_not(
    name: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "record")
    record = Path(DIRECTORY) / f"{name}.command"
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"command": ["/bin/true"]}))
    result = Result("restart", name)
    assert result.status == 1
    assert "not restarted" in result.err
    assert process.poll() is None


def test_O4_the_variable_of_the_check_is_nothing_to_set_by_hand() -> None:
    for value in ("", "yes", "0", "99999999999999999999"):
        ended = subprocess.run(
            [sys.executable, "-m", "dorrit", "serve", "json", "-x"],
            env=os.environ | {"DORRIT_CHECK": value},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 2
        assert ended.stderr == (
            "dorrit: DORRIT_CHECK is set in the environment, which only 'dorrit restart' and a "
            "reload do: unset it\n"
        )


@pytest.mark.root
def test_restart_does_not_start_a_second_one_beside_one_that_does_not_end(
    name: str, start: Callable[..., Started]
) -> None:
    process = start("pid", "record", "linger")
    result = Result("restart", name, "--timeout=0.1")
    assert result.status == 1
    assert "has not ended within 0.1 seconds" in result.err
    assert process.stdout is not None
    assert process.stdout.readline() == "took SIGTERM 1\n"  # two that wait would be one
    process.send_signal(signal.SIGTERM)
    until(lambda: process.poll() is not None, "its end")
    assert (Path(DIRECTORY) / f"{name}.command").exists()  # it can be started again


def test_each_has_a_help_that_says_its_exit_statuses() -> None:
    for command in ("status", "stop", "restart"):
        told = Result(command, "--help")
        assert told.status == 0
        assert "Exit status: " in told.out
        assert max(map(len, told.out.splitlines())) <= 100
