"""Who has a supervisor without having asked for one, who has none, and what the log says (W1)."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.drive.supervision import MODULE
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.daemons import Daemon, Daemons, reaper
from tests.support.servers import Servers, until, until_it_sleeps

CODE = """
from dorrit import Server

app = Server({settings})

@app.on_message
def said(conn, message):
    conn.send(message)
"""


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    """A daemon whose user can run Python."""
    with reaper():
        made = Daemons(directory)
        yield made()
        made.close()


def start(daemon: Daemon, *options: object) -> str:
    """Start it; return what its command has said."""
    words = [interpreter_for_nobody(), *daemon.command(*options)[1:]]
    return daemon.start(command=words, env=os.environ | {"PYTHONPATH": SEARCHED}).stderr


def write(daemon: Daemon, **settings: object) -> None:
    """Write its code, which has settings of its own."""
    said = [f"{name}={value!r}" for name, value in ({"name": daemon.name} | settings).items()]
    daemon.file.write_text(CODE.format(settings=", ".join(said)))
    daemon.file.chmod(0o644)


def has_supervisor(pid: int) -> bool:
    """Whether a server that serves, and of which this pid is known, has one, and workers."""
    children = proc.children(pid)
    if MODULE not in proc.words(pid):
        assert children == set()
        return False
    assert 1 <= len(children) <= 2  # one may be the spare one
    for worker in children:
        assert "serve" in proc.words(worker)
        assert MODULE not in proc.words(worker)
    return True


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], True),
        (["--no-supervise"], False),
        (["--no-restart"], False),
        (["--no-restart", "--supervise"], True),
        (["--no-supervise", "--restart"], False),
    ],
)
def test_W1_a_daemon_has_a_supervisor_unless_it_was_told_otherwise(
    daemon: Daemon, options: list[str], expected: bool
) -> None:
    start(daemon, *options)
    assert has_supervisor(daemon.pid) is expected
    assert daemon.ask("hello") == "hello"
    assert daemon.stop() == 0
    assert daemon.files == set()


@pytest.mark.root
@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({"supervise": False}, [], False),
        ({"no_restart": True}, [], False),
        ({"supervise": True, "no_restart": True}, [], True),
        ({"supervise": False}, ["--supervise"], True),
        ({"supervise": True}, ["--no-supervise"], False),
        ({"supervise": None}, [], True),
    ],
)
def test_W1_its_code_decides_if_the_command_line_does_not(
    daemon: Daemon, settings: dict[str, object], options: list[str], expected: bool
) -> None:
    write(daemon, **settings)
    start(daemon, *options)
    assert has_supervisor(daemon.pid) is expected
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], False), (["--no-supervise"], False), (["--supervise"], True)],
)
def test_W1_a_server_in_the_foreground_has_one_only_if_it_was_told_so(
    servers: Servers, options: list[str], expected: bool
) -> None:
    run = servers.serve("", *options)
    assert has_supervisor(run.pid) is expected
    assert servers.stop(run) == 0


# A reload


def reload(daemon: Daemon) -> tuple[int, str]:
    words = [interpreter_for_nobody(), "-m", "dorrit", "reload", daemon.name]
    ended = daemon.run(command=words, env=os.environ | {"PYTHONPATH": SEARCHED})
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "before", "after", "why"),
    [
        ([], {}, {"supervise": False}, "off and not on"),
        ([], {"supervise": True}, {"supervise": False}, "off and not on"),
        ([], {"supervise": False}, {"supervise": True}, "on and not off"),
        (["--no-restart"], {}, {"supervise": True}, "on and not off"),
        ([], {}, {"supervise": True}, None),
        ([], {"supervise": True}, {}, None),
        ([], {"supervise": False}, {}, None),
        (["--supervise"], {}, {"supervise": False}, None),
    ],
)
def test_W1_a_reload_gives_nobody_a_supervisor_and_takes_none_away(
    daemon: Daemon,
    options: list[str],
    before: dict[str, object],
    after: dict[str, object],
    why: str | None,
) -> None:
    log = daemon.file.with_suffix(".log")
    write(daemon, log=str(log), **before)
    start(daemon, *options)
    was_supervised = has_supervisor(daemon.pid)
    write(daemon, log=str(log), **after)
    status, said = reload(daemon)
    if why is None:
        assert status == 0, said
    else:
        reason = f"the supervisor would be {why}, for which it has to be stopped and started\n"
        assert (status, said) == (1, f"dorrit: {daemon.name}: not reloaded: {reason}")
        line = f"not reloaded, the server goes on with the code that it has: {reason}"
        assert log.read_text().count(line) == 1
    assert daemon.ask("hello") == "hello"
    assert has_supervisor(daemon.pid) is was_supervised
    assert daemon.stop() == 0


# What the log says of it

NONE = "the server has no supervisor: "
NO_RESTART = "the server can't be restarted after a crash: "


def start_with_python_of_root_alone(daemon: Daemon, *options: str) -> str:
    """Start a daemon whose user can't run Python; return what its command has said."""
    private = daemon.file.parent / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 0, 0)
    python = private / "python"
    python.write_text(f'#!/bin/sh\nexec {interpreter_for_nobody()} "$@"\n')
    python.chmod(0o755)
    program = f"import sys; sys.executable = {str(python)!r}; sys.argv[0] = 'dorrit'\n"
    program += "from dorrit.cli import main; sys.exit(main())"
    words = [interpreter_for_nobody(), "-c", program, *daemon.command(*options)[3:]]
    return daemon.start(command=words, env=os.environ | {"PYTHONPATH": SEARCHED}).stderr


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "lines"),
    [([], [NO_RESTART]), (["--supervise"], [NONE, NO_RESTART]), (["--no-restart"], [])],
    ids=["by default", "asked for", "without restart"],
)
def test_W1_without_one_the_log_says_so_to_who_has_asked_for_it_and_else_only_what_it_means(
    daemon: Daemon, options: list[str], lines: list[str]
) -> None:
    log = str(daemon.file.with_suffix(".log"))
    said = start_with_python_of_root_alone(daemon, "--log", log, *options)
    assert not has_supervisor(daemon.pid)
    reason = f"{daemon.file.parent}/private/python can't be executed by its user"
    assert [line.partition(" WARNING ")[2] for line in said.splitlines()] == [
        f"{line}{reason}" for line in lines
    ]
    assert daemon.stop() == 0


@pytest.mark.root
def test_R28_a_supervised_server_whose_user_can_not_read_its_file_says_so_when_it_starts(
    daemon: Daemon,
) -> None:
    daemon.file.chmod(0o600)
    os.chown(daemon.file, 0, 0)
    said = start(daemon)
    assert has_supervisor(daemon.pid)
    assert said.count(NO_RESTART) == 1
    assert said.endswith(f"{NO_RESTART}{daemon.file} can't be read by its user\n")
    assert daemon.stop() == 0


@pytest.mark.root
def test_R28_a_directory_that_its_user_can_not_enter_is_named_and_another_worker_follows(
    daemon: Daemon,
) -> None:
    log = daemon.file.with_suffix(".log")
    private = daemon.file.parent / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 0, 0)
    write(daemon, log=str(log))
    words = [interpreter_for_nobody(), *daemon.command()[1:]]
    daemon.start(command=words, env=os.environ | {"PYTHONPATH": SEARCHED}, cwd=private)
    worker = daemon.server
    until_it_sleeps(worker)
    os.kill(worker, signal.SIGKILL)
    until(lambda: log.read_text().count("listening on") == 2, "the next worker")
    line = f"{NO_RESTART}{private}, where it was started, can't be entered by its user\n"
    assert log.read_text().count(line) == log.read_text().count(NO_RESTART) == 1
    assert daemon.ask("hello") == "hello"
    assert daemon.stop() == 0
