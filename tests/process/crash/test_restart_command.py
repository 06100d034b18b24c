"""The next image is started just as the first was (R28)."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.process.crash import restart
from dorrit.process.exec import descriptors
from dorrit.process.exec.command import VARIABLE, Command
from tests.process.crash.restarting import (
    CRASHED,
    LIBRARY,
    NOBODY,
    SCRIPT,
    SEARCHED,
    Server,
    Starter,
    interpreter_for_nobody,
)
from tests.support.children import run_python
from tests.support.harness import LogRecords
from tests.support.servers import until

INHERITED = """
import resource
import sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
answer = [
    sys.orig_argv[1:], sys.argv, sys.executable, sys.prefix, sys.path, sys.flags,
    sorted(os.environb.items()), server.command, status["Umask"], status["SigIgn"],
    status["SigBlk"], resource.getrlimit(resource.RLIMIT_NOFILE),
]
"""
"""All that a process starts with."""


@pytest.fixture
def start(directory: Path) -> Iterator[Starter]:
    starter = Starter(directory)
    yield starter
    starter.close()


def expect_the_same_after_a_crash(server: Server) -> None:
    before = server.ask(INHERITED)
    for _ in range(2):
        server.crash()
        assert server.ask(INHERITED) == before, server.errors
    assert server.restarts == 2


@pytest.mark.parametrize(
    "options",
    [(), ("-u",), ("-I",), ("-E", "-s"), ("-X", "utf8", "-W", "error"), ("-O", "-B")],
    ids=" ".join,
)
def test_R28_pythons_own_options_are_kept(start: Starter, options: tuple[str, ...]) -> None:
    server = start(command=[sys.executable, *options, str(SCRIPT)])
    expect_the_same_after_a_crash(server)


def test_R28_a_relative_file_is_found_from_the_directory_it_was_given_in(start: Starter) -> None:
    command = [sys.executable, f"../{SCRIPT.parent.name}/{SCRIPT.name}"]
    server = start(command=command, cwd=SCRIPT.parent)
    assert server.ask("answer = os.getcwd()") == "/"
    expect_the_same_after_a_crash(server)


def test_R28_a_module_and_a_relative_path_for_imports_are_found(start: Starter) -> None:
    root = SCRIPT.parent.parent
    server = start(
        command=[sys.executable, "-m", f"{SCRIPT.parent.name}.{SCRIPT.stem}"],
        cwd=root,
        environment={"PYTHONPATH": f"{root.name}:{LIBRARY}"},
    )
    expect_the_same_after_a_crash(server)


def test_R28_an_interpreter_found_in_path_is_found_again(start: Starter) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    server = start(
        "--init",
        "os.environ['PATH'] = '/nowhere'",
        command=[Path(sys.executable).name, str(SCRIPT)],
        environment={"PATH": path},
    )
    expect_the_same_after_a_crash(server)
    assert f"{sys.prefix!r}" in server.ask(INHERITED)


def test_R28_a_script_that_is_a_command_of_its_own_is_run_again(start: Starter) -> None:
    script = start.directory / "command"
    script.write_text(f"#!{sys.executable} -u\n" + SCRIPT.read_text())
    script.chmod(0o755)
    expect_the_same_after_a_crash(start(command=[str(script)]))


def test_R28_what_the_server_changes_is_as_before_in_the_next_image(start: Starter) -> None:
    first = """
        import resource
        if "CHANGED" in os.environ or os.getcwd() != START or os.umask(0) != 0o027:
            raise SystemExit("not as it was")
        os.environ["CHANGED"] = "yes"
        os.chdir("/usr")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    """
    code = textwrap.dedent(first).replace("START", repr(str(start.directory)))
    server = start("--init", code, cwd=start.directory, umask=0o027)
    expect_the_same_after_a_crash(server)


def test_R28_only_the_next_image_itself_is_told_of_its_inheritance(start: Starter) -> None:
    server = start()
    server.crash()
    child = "import os; print(sorted(os.environ))"
    told = server.ask(
        f"import subprocess; answer = subprocess.run([{sys.executable!r}, '-c', {child!r}], "
        "stdout=subprocess.PIPE, text=True).stdout"
    )
    assert "PYTHONPATH" in told
    assert VARIABLE not in told


def test_R28_a_variable_that_strays_into_another_process_is_ignored(start: Starter) -> None:
    server = start(environment={VARIABLE: "3"})
    assert server.restarts == 0
    assert "DORRIT_RESTART is in the environment by mistake and ignored: " in server.errors
    server.crash()
    assert server.restarts == 1


def test_R27_after_a_mistake_the_signals_come_as_ever(
    log: LogRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "x")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, restart.HELD)
    try:
        assert restart.inherited() is None
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []).isdisjoint(restart.HELD)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert VARIABLE not in os.environ
    assert "ignored: 'x' is not a descriptor's number" in log.text


def nobodys_server(start: Starter) -> tuple[Server, Path]:
    """A server that has become nobody's, and its file."""
    script = start.directory / "server.py"
    script.write_bytes(SCRIPT.read_bytes())
    script.chmod(0o644)
    command = [interpreter_for_nobody(), script.name]
    server = start("--user", str(NOBODY), command=command, cwd=start.directory)
    assert server.logged("the server can't be restarted") == []
    return server, script


@pytest.mark.root
def test_R28_a_server_that_its_user_cannot_read_says_so_before_it_ends(start: Starter) -> None:
    server, script = nobodys_server(start)
    script.chmod(0o600)
    assert server.crash_for_good() == -signal.SIGSEGV
    assert server.log[-1] == (
        "handler: can't read server.py: permission denied: the server can't be restarted after its "
        "crash"
    )
    assert len(server.log) == 2


@pytest.mark.root
def test_R28_a_server_that_its_user_cannot_read_says_so_when_it_starts(start: Starter) -> None:
    server, script = nobodys_server(start)
    script.chmod(0o600)
    server.ask("server.prepare()")
    assert server.logged("the server can't") == [
        "the server can't be restarted after a crash: server.py can't be read by its user"
    ]


@pytest.mark.root
def test_R28_obstacles_are_named(start: Starter) -> None:
    server, script = nobodys_server(start)
    script.chmod(0o644)
    start.directory.joinpath("module.py").touch(mode=0o600)
    start.directory.chmod(0o700)
    obstacles = "answer = server.command.obstacles(['/nowhere/file', 'module.py'])"
    assert server.ask(obstacles) == str([
        f"{start.directory}, where it was started, can't be entered by its user",
        "server.py can't be read by its user",
        "/nowhere/file can't be read by its user",
        "module.py can't be read by its user",
    ])  # fmt: skip


def test_R28_a_program_from_standard_input_cannot_be_restarted(start: Starter) -> None:
    path = start.directory / "socket"
    with SCRIPT.open("rb") as script:
        process = subprocess.Popen(
            [sys.executable, "-", str(path)],
            stdin=script,
            env=os.environ | {"PYTHONPATH": SEARCHED},
        )
    try:
        log = start.directory / "socket.log"
        until(lambda: log.exists() and "ready" in log.read_text(), "the start")
        os.kill(process.pid, signal.SIGSEGV)
        assert process.wait(20) == -signal.SIGSEGV
        lines = log.read_text().splitlines()
    finally:
        process.kill()
        process.wait()
    assert "its program was read from standard input" in lines[0]
    assert not [line for line in lines if line.startswith(CRASHED)]


def test_R28_describing_the_command_changes_nothing() -> None:
    mask = os.umask(0o022)
    try:
        first = Command.current()
        assert Command.current() == first
        assert first.umask == 0o022
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)
    assert signal.SIGPIPE in first.ignored
    assert first.obstacles() == []


def test_R28_each_obstacle_is_a_line(tmp_path: Path) -> None:
    command = Command.current()
    assert command.obstacles() == []
    program = tmp_path / "program"
    program.touch(mode=0o644)
    stuck = command._replace(program=str(program), directory=str(tmp_path / "gone"))
    assert stuck.obstacles()[:2] == [
        f"{tmp_path}/gone, where it was started, can't be entered by its user",
        f"{program} can't be executed by its user",
    ]
    (line,) = command._replace(program="").obstacles()
    assert line.startswith("its program was read from standard input")


def test_R28_a_directory_that_has_been_removed_is_the_root_directory(tmp_path: Path) -> None:
    told = run_python(
        """
        from dorrit.process.exec.command import Command
        os.mkdir(sys.argv[1])
        os.chdir(sys.argv[1])
        os.rmdir(sys.argv[1])
        print(Command.current().directory)
        """,
        tmp_path / "gone",
    )
    assert told == "/\n"


def test_R28_where_descriptors_are_not_listed_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as inherited:
        inherited.set_inheritable(True)
        assert inherited.fileno() in Command.current().descriptors
        monkeypatch.setattr(descriptors, "LISTS", (str(tmp_path / "nothing"),))
        assert inherited.fileno() in Command.current().descriptors
