"""Real servers with a supervisor: real processes, real signals, real faults in their code."""

import contextlib
import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.live.server import AT_ONCE
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.daemons import RUN, Daemon, Daemons, reaper
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.log_daemon import LogDaemon, log_daemon
from tests.support.servers import (
    TIMEOUT,
    Client,
    Run,
    Servers,
    dorrit,
    until,
    until_it_sleeps,
)

AT_ONCE_FILE = "sitecustomize.py"
"""What AT_ONCE has, and Python imports."""

NOBODY = pwd.getpwnam("nobody").pw_uid

SERVER = '''
import asyncio, ctypes, faulthandler, logging, signal, subprocess, threading
from pathlib import Path
from dorrit import Server

VERSION = 1
app = Server("supervised")

def path_of(name):
    return Path(__file__).with_name(name)

def is_there(name):
    return path_of(name).exists()

def wait_for(name):
    while not is_there(name):
        time.sleep(0.01)

def crash():
    ctypes.string_at(0)

def start():
    pass

def until_supervised():
    """Wait until the supervisor waits for us."""
    parent = Path(f"/proc/{os.getppid()}")
    while "--supervise" in sys.argv:
        has_begun = b"dorrit.drive.supervisor" in (parent / "cmdline").read_bytes()
        if has_begun and (parent / "syscall").read_text().startswith(("232 ", "281 ")):
            break
        time.sleep(0.01)

def stop():
    pass

def opened(conn):
    conn.data = 0

def back(conn, state):
    conn.data = int(state or b"0")

def left(conn, code, reason):
    say("left", conn.number, code)

def said(conn, message):
    command, _, rest = message.partition(" ")
    if command == "pid":
        conn.send(str(os.getpid()))
    elif command == "crash":
        crash()
    elif command == "abort":
        os.abort()
    elif command == "overflow":
        faulthandler._stack_overflow()
    elif command == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif command == "exit":
        sys.exit(int(rest))
    elif command == "_exit":
        os._exit(int(rest))
    elif command == "block":
        path_of("blocked").touch()
        wait_for("go on")
    elif command == "log":
        logging.getLogger("the server's own").warning(rest)
    elif command == "much":
        for number in range(150):
            conn.send(f"{number}" * 1000)
    elif command == "thread":
        threading.Thread(target=lambda: (wait_for("now"), crash())).start()
    elif command == "fork":
        if (pid := os.fork()) == 0:
            while Path(__file__).exists():  # what is forked ends with the test's directory
                time.sleep(0.01)
            os._exit(0)
        conn.send(str(pid))
    elif command == "run":
        code = "import sys, time; from pathlib import Path; server = Path(sys.argv[1])\\n"
        code += "while server.exists(): time.sleep(0.01)"
        words = [sys.executable, "-c", code, __file__]
        conn.send(str(subprocess.Popen(words, close_fds=False).pid))
    elif command == "close":
        conn.close(4000, "bye")
    else:
        conn.data += 1
        conn.save(str(conn.data).encode())
        conn.send(f"{message} {conn.data}")
'''
"""A server that does what it is told; what a test appends replaces what has the same name."""

REGISTERED = """
app.on_start(start)
app.on_open(opened)
app.on_resume(back)
app.on_message(said)
app.on_close(left)
app.on_stop(stop)
"""
"""Comes last."""

FUNCTIONS = """
import ctypes, signal
from dorrit import ws_save

def ws_open_callback(conn, cookie):
    ws_set_data(conn, 0)
    return 0

def ws_resume_callback(conn, cookie, state):
    ws_set_data(conn, int(state or b"0"))
    return 0

def ws_read_callback(conn, binary, data):
    if data == b"crash":
        ctypes.string_at(0)
    if data == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if data == b"pid":
        ws_write_conn(conn, False, str(os.getpid()).encode())
        return
    count = ws_get_data(conn) + 1
    ws_set_data(conn, count)
    ws_save(conn, str(count).encode())
    ws_write_conn(conn, False, b"%b %d" % (data, count))
"""
"""Such a one with the five functions, and the sixth."""

BOTH_WAYS = pytest.mark.parametrize("ways", [[], ["--supervise"]], ids=["alone", "supervised"])
"""What is the same for a server that has no supervisor."""


# Helpers


def environment(**variables: str) -> dict[str, str]:
    """That of a server that serves again at once, however often it has crashed."""
    searched = os.pathsep.join((AT_ONCE, SEARCHED))
    return os.environ | {"PYTHONPATH": searched} | variables


def patient(servers: Servers) -> dict[str, str]:
    """That of a server that waits for an hour after the second crash, or failure, at once."""
    folder = servers.directory / "patient"
    folder.mkdir(exist_ok=True)
    text = (
        "import dorrit.process.exec.backoff as backoff\nbackoff.FIRST = backoff.LONGEST = 3600.0\n"
    )
    (folder / AT_ONCE_FILE).write_text(text)
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), SEARCHED))}


def write(servers: Servers, source: str = "", version: int = 1) -> Path:
    text = SERVER.replace("VERSION = 1", f"VERSION = {version}")
    return servers.write(text + textwrap.dedent(source) + REGISTERED)


def begin(servers: Servers, source: str = "", *options: object, **settings: object) -> Run:
    """Start a supervised server."""
    file = write(servers, source)
    command = servers.command(f"{file}:app", "--supervise", *options)
    return servers.start(*command, **{"env": environment()} | settings)


def serve(servers: Servers, source: str = "", *options: object, **settings: object) -> Run:
    """Run a supervised server until it listens."""
    return begin(servers, source, *options, **settings).until_listening()


def words_of(pid: int) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def workers_of(supervisor: int) -> list[int]:
    """Its workers: not the janitor, and not what has not executed the server yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = proc.children(supervisor)
        return [pid for pid in found if b"serve" in words_of(pid)]
    return []


def worker_of(supervisor: int) -> int:
    """The worker that serves: there may be a spare one by now."""
    until(lambda: workers_of(supervisor), "the worker")
    return proc.oldest(workers_of(supervisor))


def times_served(run: Run) -> int:
    return run.err.count(" listening on ")


def until_served(run: Run, times: int) -> None:
    """Wait until so many workers have come to serve."""
    until(lambda: times_served(run) >= times or run.process.poll() is not None, "the next worker")
    assert run.process.poll() is None, run.err


def kill_idle(worker: int, number: int = signal.SIGKILL) -> None:
    """End a worker which does nothing: whoever it hears or writes to just then would be closed."""
    until_it_sleeps(worker)
    os.kill(worker, number)


def kill(run: Run, number: int = signal.SIGKILL) -> None:
    """End the worker from outside while it does nothing, and wait until the next one serves."""
    times = times_served(run)
    kill_idle(worker_of(run.pid), number)
    until_served(run, times + 1)


def end_worker_while_none_starts(servers: Servers, run: Run, number: int = signal.SIGKILL) -> None:
    """End the worker from outside; the next one (of `HELD`) has begun to start, and waits."""
    (servers.directory / "hold").touch()
    kill_idle(worker_of(run.pid), number)
    until((servers.directory / "held").exists, "the start of the next one")


HELD = """
def start():
    if is_there("hold"):
        path_of("held").touch()
        wait_for("go on")
"""
"""Whose start is as long as a test wants it to be."""


def status(servers: Servers) -> dict[str, str]:
    """What `dorrit status` says of the server, by the first word of each line."""
    done = servers.run(*dorrit("status", servers.path))
    assert done.process.returncode == 0, done.err
    first, *lines = done.said
    found = dict(re.split(r" {2,}", line, maxsplit=1) if "  " in line else line.split(" ", 1)
                 for line in lines if line.strip())  # fmt: skip
    found["pid"] = first.rpartition(" ")[2]
    return found


def until_connections(servers: Servers, count: int) -> None:
    until(lambda: status(servers)["connections"] == str(count), f"{count} connections")


def left_of(servers: Servers) -> set[str]:
    """What there is of the server's files."""
    return {path.name for path in servers.directory.iterdir() if path.name.startswith("socket")}


def knock(servers: Servers, data: bytes = REQUEST) -> socket.socket:
    """A client that has sent this, and has not waited for an answer."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT)
    client.connect(str(servers.path))
    client.sendall(data)
    servers.others.append(client)
    return client


def read_to(client: socket.socket, end: bytes) -> bytes:
    """What comes up to this; less, if the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while end not in data and (more := client.recv(4096)):
            data += more
    return data


def ended_with(client: Client) -> int | None:
    """The code of the close frame, which is answered, and must be followed by the end."""
    code = client.close_code()
    with contextlib.suppress(OSError):
        client.socket.sendall(close_frame(code or 1000))
    assert client.ended()
    return code


def without_times(text: str) -> list[str]:
    """The lines of a log, without what differs each time."""
    lines = [re.sub(r"^[-\d]{10} [:\d]{8},\d{3} ", "", line) for line in text.splitlines()]
    return [line for line in lines if "the server runs as root" not in line]


# Who it is


def test_threads_that_the_first_worker_would_lose_are_named_in_the_log(servers: Servers) -> None:
    file = servers.write("""
        import threading, time
        def ws_init_func():
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        def ws_open_callback(conn, cookie): return 0
        def ws_read_callback(conn, binary, data): pass
        def ws_close_callback(conn): pass
        def ws_exit_func(): pass
    """)
    run = servers.start(*servers.command(file, "--supervise"), env=environment())
    run.until_listening()
    assert "threads that ws_init_func has started end when the server gets a supervisor" in run.err
    assert servers.stop(run) == 0


def test_W1_it_is_the_supervisor_whose_pid_is_known_and_who_has_the_lock(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    worker = worker_of(run.pid)
    assert client.ask("pid") == str(worker)
    assert b"dorrit.drive.supervisor" in words_of(run.pid)
    assert status(servers)["pid"] == str(run.pid)
    lock = f"{servers.path}.lock"
    assert lock in proc.descriptors(run.pid).values()
    assert lock not in proc.descriptors(worker).values()
    again = servers.run(*servers.command(write(servers).with_name("server.py:app")))
    assert again.process.returncode == 1
    assert client.ask("still") == "still 1"
    assert servers.stop(run) == 0
    assert left_of(servers) == set()


def test_its_status_counts_connections_and_crashes_and_says_what_was_restarted(
    servers: Servers,
) -> None:
    run = serve(servers)
    before = status(servers)
    assert (before["connections"], before["crashes"]) == ("0", "0")
    assert "restarted" not in before
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    kill(run)
    until_connections(servers, 3)
    after = status(servers)
    assert after["crashes"] == "1"
    assert after["restarted"].startswith("after a crash, with 3 connections in ")
    assert after["user"] == before["user"]
    assert run.process.poll() is None
    for client in clients:
        client.close()
    until_connections(servers, 0)
    assert servers.stop(run) == 0


@pytest.mark.root
@pytest.mark.parametrize("options", [["-u", "root", "-g", "root"], []], ids=["root", "nobody"])
def test_in_the_foreground_root_may_keep_its_privileges_or_not(
    servers: Servers, options: list[str]
) -> None:
    file = servers.write(FUNCTIONS)
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", servers.path]
    run = servers.start(*words, "--supervise", *options, env=environment()).until_listening()
    uid = 0 if options else NOBODY
    client = servers.connect()
    for number in range(1, 4):
        for pid in (run.pid, worker_of(run.pid)):
            assert proc.status(pid)["Uid"] == [str(uid)] * 4
            for name in proc.CAPABILITIES:
                assert options or int(proc.status(pid)[name][0], 16) == 0
        assert client.ask("hello") == f"hello {number}"
        kill(run)
    assert servers.stop(run) == 0
    until(lambda: left_of(servers) == set(), "the janitor")


@pytest.mark.root
def test_where_its_user_can_not_run_python_there_is_no_supervisor_and_the_log_says_so(
    servers: Servers,
) -> None:
    # This interpreter is root's alone, in a folder that nobody may enter.
    private = servers.directory / "private"
    private.mkdir(mode=0o700)
    python = private / "python"
    python.write_text(f'#!/bin/sh\nexec {interpreter_for_nobody()} "$@"\n')
    python.chmod(0o755)
    file = servers.write(FUNCTIONS)
    program = f"import sys; sys.executable = {str(python)!r}; sys.argv[0] = 'dorrit'\n"
    program += "from dorrit.cli import main; sys.exit(main())"
    if sys.executable == interpreter_for_nobody():
        words: list[object] = [sys.executable, "-c", program]
    else:
        words = [sys.executable, "-m", "dorrit"]
    run = servers.start(
        *words, "serve", file, "-x", "-l", servers.path, "--supervise", env=environment()
    ).until_listening()
    assert "the server has no supervisor: " in run.err
    assert servers.connect().ask("hello") == "hello 1"
    assert workers_of(run.pid) == []
    assert servers.stop(run) == 0


# Daemons


@pytest.fixture
def log() -> Iterator[LogDaemon]:
    with log_daemon() as made:
        yield made


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    with reaper():
        made = Daemons(directory)
        daemon = made(FUNCTIONS)
        yield daemon
        for pid in workers_of(daemon.pid) if daemon.pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        made.close()


AS = pytest.mark.parametrize("options", [["-u", "root", "-g", "root"], []], ids=["root", "nobody"])


def start_daemon(daemon: Daemon, *options: object) -> None:
    words = [interpreter_for_nobody(), *daemon.command("--supervise", *options)[1:]]
    daemon.start(command=words, env=environment())


def daemon_says(daemon: Daemon, *words: str) -> "subprocess.CompletedProcess[str]":
    return daemon.run(command=[interpreter_for_nobody(), "-m", "dorrit", *words], env=environment())


def next_worker(daemon: Daemon, last: int) -> int:
    """The worker after this one, once it answers."""
    until(lambda: last not in workers_of(daemon.pid), "the end of a worker")
    answer = int(daemon.ask("pid"))
    assert answer == worker_of(daemon.pid)
    return answer


@pytest.mark.root
@AS
def test_a_daemon_is_its_supervisor_and_goes_on_whatever_ends_its_worker(
    log: LogDaemon, daemon: Daemon, options: list[str]
) -> None:
    log.identities = (daemon.name,)
    start_daemon(daemon, *options)
    log.until_said("listening on")
    worker = worker_of(daemon.pid)
    uid = 0 if options else NOBODY
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"
    assert b"dorrit.drive.supervisor" in words_of(daemon.pid)
    assert daemon.files == {".socket", ".status", ".socket.lock", ".pid", ".command"}
    names = proc.descriptors(daemon.pid).values()
    for suffix in (".pid", ".socket.lock"):
        assert f"{RUN.resolve()}/{daemon.name}{suffix}" in names
    client = daemon.connect()
    with client.socket:
        assert client.ask("one") == "one 1"
        for number, how in enumerate(["kill", "crash"], 2):
            culprit = daemon.connect()
            with culprit.socket:
                culprit.send(how)
                assert culprit.close_code() == {"kill": 1012, "crash": 1011}[how]
            worker = next_worker(daemon, worker)
            for pid in (daemon.pid, worker):
                shown = proc.status(pid)
                assert shown["Uid"] == [str(uid)] * 4
                assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
                streams = proc.descriptors(pid)
                assert [streams[descriptor] for descriptor in range(3)] == ["/dev/null"] * 3
            assert proc.stat(worker)["session"] == proc.stat(daemon.pid)["session"]
            assert client.ask("again") == f"again {number}"
        said = daemon_says(daemon, "status", daemon.name)
        assert f"as process {daemon.pid}\n" in said.stdout
        assert "crashes     2\n" in said.stdout
        assert "restarted   after a crash, with " in said.stdout
    assert daemon.stop() == 0
    assert daemon.files == set()
    assert proc.is_gone(worker)


@pytest.mark.root
@AS
def test_dorrit_stop_ends_a_daemon_and_nothing_of_it_is_left(
    daemon: Daemon, options: list[str]
) -> None:
    start_daemon(daemon, *options)
    worker = worker_of(daemon.pid)
    client = daemon.connect()
    with client.socket:
        stopping = threading.Thread(
            target=lambda: said.append(daemon_says(daemon, "stop", daemon.name))
        )
        said: list[subprocess.CompletedProcess[str]] = []
        stopping.start()
        assert ended_with(client) == 1001
        stopping.join(TIMEOUT)
    assert said[0].returncode == 0, said[0].stderr
    assert daemon.wait() == 0
    assert proc.is_gone(worker)
    assert daemon.files == set()


@pytest.mark.root
@AS
def test_dorrit_restart_starts_a_daemon_with_a_supervisor_again(
    daemon: Daemon, options: list[str]
) -> None:
    start_daemon(daemon, *options)
    first = daemon.pid
    done = daemon_says(daemon, "restart", daemon.name)
    assert done.returncode == 0, done.stderr
    assert proc.is_gone(first)
    daemon.pid = int(daemon.pid_file.read_text())
    worker = worker_of(daemon.pid)
    assert daemon.ask("pid") == str(worker)
    kill_idle(worker)
    next_worker(daemon, worker)
    assert daemon.stop() == 0
    assert daemon.files == set()


@pytest.mark.root
@AS
def test_dorrit_reload_reloads_a_daemon(daemon: Daemon, options: list[str]) -> None:
    start_daemon(daemon, *options)
    worker = worker_of(daemon.pid)
    client = daemon.connect()
    with client.socket:
        assert client.ask("one") == "one 1"
        daemon.write(FUNCTIONS.replace('b"%b %d"', 'b"new %b %d"'))
        done = daemon_says(daemon, "reload", daemon.name)
        assert done.returncode == 0, done.stderr
        assert "reloaded with 1 connection in " in done.stdout
        assert client.ask("two") == "new two 2"
    next_worker(daemon, worker)
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"
    assert daemon.stop() == 0
    assert daemon.files == set()


@pytest.mark.root
def test_sighup_has_a_daemons_two_processes_open_the_log_file_anew(daemon: Daemon) -> None:
    file = daemon.file.with_suffix(".log")
    start_daemon(daemon, "--log", file)
    until(lambda: "listening on" in file.read_text(), "the log")
    rotated = file.with_suffix(".log.1")
    file.rename(rotated)
    daemon.kill(signal.SIGHUP)
    until(file.exists, "the new file")

    def open_files() -> set[str]:
        return {
            name
            for pid in (daemon.pid, *workers_of(daemon.pid))
            for name in proc.descriptors(pid).values()
            if ".log" in name
        }

    until(lambda: open_files() == {str(file)}, "only the new one is open")
    before = rotated.read_text()
    os.kill(worker_of(daemon.pid), signal.SIGKILL)
    until(lambda: file.read_text().count("listening on") == 1, "the next worker")
    assert "killed: SIGKILL" in file.read_text()
    assert daemon.stop() == 0
    assert "stopping" in file.read_text()
    assert rotated.read_text() == before


# How it ends


def test_dorrit_stop_ends_it_in_order(servers: Servers) -> None:
    run = serve(servers)
    worker = worker_of(run.pid)
    client = servers.connect()
    stopping = servers.start(*dorrit("stop", servers.path))
    assert ended_with(client) == 1001
    assert stopping.wait() == 0, stopping.err
    assert run.wait() == 0
    assert proc.is_gone(worker)
    assert left_of(servers) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@BOTH_WAYS
def test_one_signal_ends_it_in_order(
    servers: Servers, ways: list[str], number: signal.Signals
) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=environment()).until_listening()
    clients = [servers.connect() for _ in range(3)]
    run.process.send_signal(number)
    assert [ended_with(client) for client in clients] == [1001] * 3
    assert run.wait() == 0
    assert sorted(run.said) == [f"left {number} 1001" for number in (1, 2, 3)]
    assert run.err.count(" stopping") == 1
    assert " ERROR " not in run.err
    assert left_of(servers) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@BOTH_WAYS
def test_a_second_signal_does_not_wait_for_a_handler_that_blocks(
    servers: Servers, ways: list[str], number: signal.Signals
) -> None:
    file = write(servers)
    # Its grace is longer than the test waits for anything.
    command = servers.command(f"{file}:app", "--stop-grace", 3600, *ways)
    run = servers.start(*command, env=environment()).until_listening()
    client = servers.connect()
    client.send("block")
    until((servers.directory / "blocked").exists, "the handler")
    run.process.send_signal(number)

    def ended() -> bool:
        # One that comes before the one before it has been handled is lost in that.
        run.process.send_signal(number)
        return run.process.poll() is not None

    until(ended, "its end")
    assert run.wait() == 1, run.err
    assert "a handler" in run.err
    assert left_of(servers) == set()
    assert client.ended()


@BOTH_WAYS
def test_a_handler_that_blocks_is_left_when_its_grace_is_over(
    servers: Servers, ways: list[str]
) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", "--stop-grace", 0.5, *ways)
    run = servers.start(*command, env=environment()).until_listening()
    client = servers.connect()
    client.send("block")
    until((servers.directory / "blocked").exists, "the handler")
    run.process.terminate()
    assert run.wait() == 1, run.err
    assert client.ended()
    assert left_of(servers) == set()


@BOTH_WAYS
def test_ctrl_c_to_its_whole_group_ends_it_in_order(servers: Servers, ways: list[str]) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=environment(), start_new_session=True).until_listening()
    clients = [servers.connect() for _ in range(3)]
    assert clients[0].ask("one") == "one 1"
    os.killpg(run.pid, signal.SIGINT)
    assert [ended_with(client) for client in clients] == [1001] * 3
    assert run.wait() == 0, run.err
    assert sorted(run.said) == [f"left {number} 1001" for number in (1, 2, 3)]
    assert left_of(servers) == set()


def test_sighup_has_both_processes_open_the_log_file_anew(servers: Servers) -> None:
    file = servers.directory / "server.log"
    run = begin(servers, "", "--log", file)
    until(lambda: file.exists() and "listening on" in file.read_text(), "its start")
    client = servers.connect()
    rotated = servers.directory / "server.log.1"
    file.rename(rotated)
    run.process.send_signal(signal.SIGHUP)

    def open_files() -> set[str]:
        return {
            name
            for pid in (run.pid, *workers_of(run.pid))
            for name in proc.descriptors(pid).values()
            if "server.log" in name
        }

    until(lambda: open_files() == {str(file)}, "only the new one is open")
    before = rotated.read_text()
    client.send("log of the worker")
    until(lambda: "of the worker" in file.read_text(), "what the worker logs")
    kill_idle(worker_of(run.pid))
    until(lambda: "listening on" in file.read_text(), "what the supervisor logs")
    assert client.ask("still") == "still 1"
    assert servers.stop(run) == 0
    assert rotated.read_text() == before


@BOTH_WAYS
def test_what_goes_to_a_log_file_does_not_go_to_the_terminal_when_it_serves(
    servers: Servers, ways: list[str]
) -> None:
    file = servers.directory / "server.log"
    command = servers.command(f"{write(servers)}:app", "--log", file, *ways)
    run = servers.start(*command, env=environment())
    until(lambda: file.exists() and "listening on" in file.read_text(), "its start")
    client = servers.connect()
    culprit = servers.connect()
    culprit.send("crash")
    assert culprit.close_code() == 1011
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0
    assert "crashed: SIGSEGV" in file.read_text()
    assert "crashed" not in run.err
    assert "stopping" not in run.err


@pytest.mark.parametrize(
    ("source", "message", "code"),
    [
        ("", "exit 3", 3),
        ("", "exit 0", 0),
        ("", "_exit 4", 4),
        ("def stop(): sys.exit(5)", "exit 0", 5),
    ],
)
@BOTH_WAYS
def test_its_exit_status_is_that_of_its_code(
    servers: Servers, ways: list[str], source: str, message: str, code: int
) -> None:
    file = write(servers, source)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=environment()).until_listening()
    other, client = servers.connect(), servers.connect()
    client.send(message)
    for one in (client, other):
        with contextlib.suppress(EOFError, ConnectionResetError):
            assert one.close_code() == 1001
            assert not message.startswith("_exit")
        one.socket.close()
    assert run.wait() == code, run.err
    # A server that is alone has no chance to remove them after _exit(2).
    assert left_of(servers) == set() or (message == "_exit 4" and not ways)


@pytest.mark.parametrize("function", ["ws_exit_func", "stop"])
@BOTH_WAYS
def test_its_exit_status_is_1_if_the_last_of_its_functions_raises(
    servers: Servers, ways: list[str], function: str
) -> None:
    source = f"def {function}(): raise ValueError('no more')"
    file = write(servers, source) if function == "stop" else servers.write(source)
    server = f"{file}:app" if function == "stop" else file
    run = servers.start(*servers.command(server, *ways), env=environment()).until_listening()
    client = servers.connect()
    run.process.terminate()
    assert ended_with(client) == 1001
    assert run.wait() == 1
    assert "ValueError: no more" in run.err
    assert left_of(servers) == set()


# What ends its worker


class Death(NamedTuple):
    """How a worker ends.

    Attributes:
        message: What has a handler end it so.
        code: What its client is told.
        logged: How the log's first line begins.
        signal: What ends it.
    """

    message: str
    code: int
    logged: str
    signal: signal.Signals


DEATHS = {
    "a null pointer": Death("crash", 1011, "crashed: SIGSEGV", signal.SIGSEGV),
    "abort": Death("abort", 1011, "crashed: SIGABRT", signal.SIGABRT),
    "a stack overflow": Death("overflow", 1011, "crashed: SIGSEGV", signal.SIGSEGV),
    "SIGKILL": Death("kill", 1012, "killed: SIGKILL", signal.SIGKILL),
}

EACH_DEATH = pytest.mark.parametrize("death", DEATHS.values(), ids=list(DEATHS))


@EACH_DEATH
def test_all_go_on_but_the_one_whose_handler_has_ended_the_worker(
    servers: Servers, death: Death
) -> None:
    run = serve(servers)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    for number in range(2, 5):
        culprit = servers.connect()
        culprit.send(death.message)
        assert ended_with(culprit) == death.code
        assert [client.ask("more") for client in clients] == [f"more {number}"] * 3
    assert run.err.count(death.logged) == 3
    if death.code == 1011:
        assert run.err.count(f'File "{servers.directory / "server.py"}"') >= 3
        assert " in said\n" in run.err
    until(lambda: run.said == [f"left {n} {death.code}" for n in (4, 5, 6)], "who has left, once")
    assert status(servers)["crashes"] == "3"
    assert servers.stop(run) == 0


@EACH_DEATH
def test_the_log_says_what_has_ended_the_worker_and_in_which_file(
    servers: Servers, death: Death
) -> None:
    run = serve(servers)
    culprit = servers.connect()
    culprit.send(death.message)
    assert ended_with(culprit) == death.code
    assert servers.stop(run) == 0
    if death.signal is signal.SIGKILL:
        assert "killed: SIGKILL; another process goes on: restart 1 since " in run.err
        return
    how = rf"crashed: {death.signal.name} \(.+\); another process goes on: restart 1 since "
    assert re.search(how, run.err), run.err
    assert str(servers.directory / "server.py") in run.err.partition("Current thread")[2]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGUSR1]
)
def test_a_signal_from_outside_costs_nobody_anything(
    servers: Servers, number: signal.Signals
) -> None:
    run = serve(servers)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    if number == signal.SIGTERM:
        # That is how a worker is told to stop, whoever does it: the server ends in order.
        os.kill(worker_of(run.pid), number)
        assert [ended_with(client) for client in clients] == [1001] * 3
        assert run.wait() == 0, run.err
        return
    for count in range(2, 5):
        kill(run, number)
        assert [client.ask("more") for client in clients] == [f"more {count}"] * 3
    assert run.said == []
    assert servers.stop(run) == 0


@EACH_DEATH
def test_what_a_client_has_sent_in_part_is_kept(servers: Servers, death: Death) -> None:
    run = serve(servers)
    half = len(REQUEST) // 2
    requesting = knock(servers, REQUEST[:half])
    telling, other = servers.connect(), servers.connect()
    message = frame(TEXT, b"x" * 1000)
    telling.socket.sendall(message[:500])
    # The turn that answers this one comes after that in which they were heard.
    assert [other.ask("one"), other.ask("two")] == ["one 1", "two 2"]
    until_connections(servers, 3)
    kill(run, death.signal)
    requesting.sendall(REQUEST[half:])
    telling.socket.sendall(message[500:])
    assert telling.text() == "x" * 1000 + " 1"
    assert b"HTTP/1.1 101 " in read_to(requesting, b"\r\n\r\n")
    requesting.sendall(frame(TEXT, b"now"))
    assert b"now 1" in read_to(requesting, b"now 1")
    assert other.ask("three") == "three 3"
    assert servers.stop(run) == 0


@EACH_DEATH
def test_who_comes_while_there_is_no_worker_waits_for_the_next_one(
    servers: Servers, death: Death
) -> None:
    run = serve(servers, HELD)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    end_worker_while_none_starts(servers, run, death.signal)
    early = knock(servers, REQUEST + frame(TEXT, b"early"))
    half = knock(servers, REQUEST[:50])
    silent = knock(servers, b"")
    gone = knock(servers)
    gone.close()
    client.send("two")
    (servers.directory / "go on").touch()
    assert client.text() == "two 2"
    assert b"early 1" in read_to(early, b"early 1")
    half.sendall(REQUEST[50:])
    silent.sendall(REQUEST)
    for one in (half, silent):
        assert b"HTTP/1.1 101 " in read_to(one, b"\r\n\r\n")
    for one in (early, half, silent):
        one.close()
    until_connections(servers, 1)
    assert servers.stop(run) == 0


@EACH_DEATH
def test_who_goes_while_there_is_no_worker_is_gone(servers: Servers, death: Death) -> None:
    run = serve(servers, HELD)
    clients = [servers.connect() for _ in range(4)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 4
    end_worker_while_none_starts(servers, run, death.signal)
    clients[0].socket.close()
    clients[1].socket.sendall(close_frame(1000))
    clients[2].socket.shutdown(socket.SHUT_WR)
    (servers.directory / "go on").touch()
    assert clients[1].close_code() == 1000
    assert clients[1].ended()
    assert clients[2].ended()
    assert clients[3].ask("two") == "two 2"
    until(lambda: sorted(run.said) == ["left 1 1006", "left 2 1000", "left 3 1006"], "all of them")
    until_connections(servers, 1)
    assert servers.stop(run) == 0


@EACH_DEATH
def test_what_a_slow_reader_has_not_read_is_sent_in_order(servers: Servers, death: Death) -> None:
    run = serve(servers)
    slow, other = servers.connect(), servers.connect()
    slow.send("much")
    assert [other.ask("one"), other.ask("two")] == ["one 1", "two 2"]
    kill(run, death.signal)
    assert other.ask("three") == "three 3"
    assert [slow.text() for _ in range(150)] == [f"{number}" * 1000 for number in range(150)]
    assert slow.ask("next") == "next 1"
    assert servers.stop(run) == 0


def test_a_thread_that_crashes_costs_nobody_anything(servers: Servers) -> None:
    run = serve(servers)
    clients = [servers.connect() for _ in range(3)]
    clients[0].send("thread")
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    (servers.directory / "now").touch()
    until_served(run, 2)
    assert [client.ask("two") for client in clients] == ["two 2"] * 3
    assert "crashed: SIGSEGV" in run.err
    assert " in crash\n" in run.err
    assert run.said == []
    assert servers.stop(run) == 0


def test_who_crashes_the_open_handler_is_refused(servers: Servers) -> None:
    run = serve(servers, """
        def opened(conn):
            conn.data = 0
            if conn.request.path == "/bad":
                crash()
    """)  # fmt: skip
    client = servers.connect()
    assert servers.connect(REQUEST.replace(b"/chat", b"/bad")).status == 500
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_who_has_the_open_handler_killed_is_told_to_come_again(servers: Servers) -> None:
    run = serve(servers, """
        def opened(conn):
            conn.data = 0
            if conn.request.path == "/bad":
                os.kill(os.getpid(), signal.SIGKILL)
    """)  # fmt: skip
    client = servers.connect()
    assert servers.connect(REQUEST.replace(b"/chat", b"/bad")).status == 503
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_an_async_handler_that_crashes_closes_its_client_alone(servers: Servers) -> None:
    run = serve(servers, """
        plain = said
        async def said(conn, message):
            await asyncio.sleep(0)
            plain(conn, message)
    """)  # fmt: skip
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    for number, death in enumerate(DEATHS.values(), 2):
        culprit = servers.connect()
        culprit.send(death.message)
        assert ended_with(culprit) == death.code
        assert [client.ask("more") for client in clients] == [f"more {number}"] * 3
    assert servers.stop(run) == 0


# A crash after the other


def test_who_crashes_the_resume_handler_is_closed_and_the_others_go_on(servers: Servers) -> None:
    run = serve(servers, """
        def back(conn, state):
            conn.data = int(state or b"0")
            if conn.data == 2:
                crash()
    """)  # fmt: skip
    client, bad, other = (servers.connect() for _ in range(3))
    assert [bad.ask("one"), bad.ask("two"), client.ask("one")] == ["one 1", "two 2", "one 1"]
    kill_idle(worker_of(run.pid))
    assert ended_with(bad) == 1011
    assert [client.ask("two"), other.ask("one")] == ["two 2", "one 1"]
    assert run.process.poll() is None
    assert servers.stop(run) == 0


ALWAYS_CRASHING = """
if is_there("hold"):
    with path_of("starts").open("a") as starts:
        starts.write("x")
    crash()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@BOTH_WAYS
def test_a_server_whose_start_crashes_again_and_again_waits_and_a_stop_ends_that(
    servers: Servers, ways: list[str], number: signal.Signals
) -> None:
    file = write(servers, ALWAYS_CRASHING)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=patient(servers)).until_listening()
    client, culprit = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    culprit.send("crash")
    until(lambda: re.search(r" waiting \d{4}\.", run.err), "the wait of an hour")
    assert (servers.directory / "starts").read_text() == "x"
    assert run.err.count("crashed: SIGSEGV") == 2
    early = knock(servers)
    run.process.send_signal(number)
    assert ended_with(client) == 1001
    assert b"101" not in read_to(early, b"\r\n\r\n")
    assert run.wait() == 0, run.err
    assert left_of(servers) == set()


@BOTH_WAYS
def test_a_reload_ends_the_wait_for_code_that_has_failed(servers: Servers, ways: list[str]) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", "--resume-timeout", 86400, *ways)
    run = servers.start(*command, env=patient(servers)).until_listening()
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, RAISING)
    run.process.send_signal(signal.SIGUSR2)
    until(lambda: re.search(r"tried again in \d{4}\.", run.err), "the wait of an hour")
    write(servers, NEW)
    run.process.send_signal(signal.SIGUSR2)
    assert client.ask("two") == "new two 2"
    assert servers.stop(run) == 0


@BOTH_WAYS
def test_a_reload_ends_the_wait_after_crashes(servers: Servers, ways: list[str]) -> None:
    file = write(servers, ALWAYS_CRASHING)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=patient(servers)).until_listening()
    client, culprit = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    culprit.send("crash")
    until(lambda: re.search(r" waiting \d{4}\.", run.err), "the wait of an hour")
    (servers.directory / "hold").unlink()
    run.process.send_signal(signal.SIGUSR2)
    assert client.ask("two") == "two 2"
    assert servers.stop(run) == 0


def test_it_goes_on_when_the_start_of_its_worker_crashes_no_more(servers: Servers) -> None:
    run = serve(servers, ALWAYS_CRASHING)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    kill_idle(worker_of(run.pid))
    until(lambda: run.err.count("crashed: SIGSEGV") >= 3, "some crashes")
    (servers.directory / "hold").unlink()
    until_served(run, 2)
    assert client.ask("two") == "two 2"
    assert servers.connect().ask("one") == "one 1"
    assert servers.stop(run) == 0


@BOTH_WAYS
def test_it_ends_when_its_code_can_not_be_started_after_a_crash(
    servers: Servers, ways: list[str]
) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", *ways)
    run = servers.start(*command, env=environment()).until_listening()
    client, culprit = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    file.write_text("x = = 1\n")
    culprit.send("crash")
    assert ended_with(culprit) == 1011
    assert ended_with(client) == 1012
    assert run.wait() == 1, run.err
    assert "invalid syntax" in run.err
    assert left_of(servers) == set()


@EACH_DEATH
def test_without_restart_the_end_of_the_worker_ends_the_server(
    servers: Servers, death: Death
) -> None:
    run = serve(servers, "", "--no-restart")
    client, culprit = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    culprit.send(death.message)
    assert culprit.ended()
    assert client.ended()
    assert run.wait() != 0
    assert death.signal.name in run.err
    assert left_of(servers) == set()


def test_without_restart_it_stops_like_any_other(servers: Servers) -> None:
    run = serve(servers, "", "--no-restart")
    client = servers.connect()
    run.process.terminate()
    assert ended_with(client) == 1001
    assert run.wait() == 0


# How it can't start

FAILURES = {
    "its file has a mistake": "x = = 1",
    "its file raises": "raise ValueError('no')",
    "its file exits": "sys.exit(7)",
    "its start handler raises": "def start(): raise ValueError('no')",
    "its start handler exits": "def start(): sys.exit(7)",
    "its start handler leaves the process": "def start(): os._exit(7)",
    "its start handler raises late": "def start(): until_supervised(); raise ValueError('no')",
    "its start handler exits late": "def start(): until_supervised(); sys.exit(7)",
    "its start handler leaves the process late": "def start(): until_supervised(); os._exit(7)",
}
"""Late: the process that the server was is the supervisor already."""

ENDS = {
    "a crash": ("def start(): crash()", signal.SIGSEGV),
    "SIGKILL": ("def start(): os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL),
    "a late crash": ("def start(): until_supervised(); crash()", signal.SIGSEGV),
    "a late SIGKILL": (
        "def start(): until_supervised(); os.kill(os.getpid(), signal.SIGKILL)",
        signal.SIGKILL,
    ),
}


@pytest.mark.parametrize("source", FAILURES.values(), ids=list(FAILURES))
def test_it_fails_to_start_as_a_server_does_that_is_alone(servers: Servers, source: str) -> None:
    ends = []
    for ways in ([], ["--supervise"]):
        file = write(servers, source)
        run = servers.run(*servers.command(f"{file}:app", *ways), env=environment())
        ends.append((run.process.returncode, without_times(run.err), run.said))
        if ways or "_exit" not in source:
            assert left_of(servers) == set()
        for name in left_of(servers):
            (servers.directory / name).unlink()
    assert ends[1] == ends[0]


def test_so_it_does_when_its_init_function_raises(servers: Servers) -> None:
    ends = []
    for ways in ([], ["--supervise"]):
        file = servers.write("def ws_init_func(): raise ValueError('no')")
        run = servers.run(*servers.command(file, *ways), env=environment())
        ends.append((run.process.returncode, without_times(run.err), run.said))
        assert left_of(servers) == set()
    assert ends[1] == ends[0]


@pytest.mark.parametrize(("source", "number"), ENDS.values(), ids=list(ENDS))
def test_what_ends_its_worker_before_it_is_ready_ends_the_start(
    servers: Servers, source: str, number: signal.Signals
) -> None:
    file = write(servers, source)
    run = servers.run(*servers.command(f"{file}:app", "--supervise"), env=environment())
    assert run.process.returncode != 0
    assert number.name in run.err
    if number == signal.SIGSEGV:
        assert run.err.count("Fatal Python error: Segmentation fault") == 1
        assert " in start\n" in run.err
    assert left_of(servers) == set()


OBJECTS = '''
import ctypes, os, signal, sys, time
from pathlib import Path
from dorrit import Server
app = Server("NAME")
def crash():
    ctypes.string_at(0)
def until_supervised():
    """Wait until the supervisor waits for us."""
    parent = Path(f"/proc/{os.getppid()}")
    while "--supervise" in sys.argv:
        has_begun = b"dorrit.drive.supervisor" in (parent / "cmdline").read_bytes()
        if has_begun and (parent / "syscall").read_text().startswith(("232 ", "281 ")):
            break
        time.sleep(0.01)

@app.on_message
def said(conn, message):
    pass
'''


def fail_as_daemon(
    daemon: Daemon, source: str, *options: object
) -> "subprocess.CompletedProcess[str]":
    text = OBJECTS.replace("NAME", daemon.name) + source.replace(
        "def start", "@app.on_start\ndef start", 1
    )
    daemon.file.write_text(text)
    server = f"{daemon.file}:app"
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", server, *map(str, options)]
    return daemon.run(command=words, env=environment())


@pytest.mark.root
@AS
@pytest.mark.parametrize("source", FAILURES.values(), ids=list(FAILURES))
def test_a_daemon_fails_to_start_as_one_does_that_is_alone(
    log: LogDaemon, daemon: Daemon, source: str, options: list[str]
) -> None:
    ends = []
    for ways in ([], ["--supervise"]):
        ended = fail_as_daemon(daemon, source, *ways, *options)
        ends.append((ended.returncode, without_times(ended.stderr), ended.stdout))
        if ways or "_exit" not in source:
            until(lambda: daemon.files == set(), "the janitor")
        for suffix in daemon.files:
            (RUN / (daemon.name + suffix)).unlink()
    assert ends[1] == ends[0]


@pytest.mark.root
@AS
@pytest.mark.parametrize(("source", "number"), ENDS.values(), ids=list(ENDS))
def test_what_ends_a_daemons_worker_before_it_is_ready_ends_the_start(
    log: LogDaemon, daemon: Daemon, source: str, number: signal.Signals, options: list[str]
) -> None:
    ended = fail_as_daemon(daemon, source, "--supervise", *options)
    assert ended.returncode == 1
    assert number.name in ended.stderr
    if number == signal.SIGSEGV:
        assert ended.stderr.count("Fatal Python error: Segmentation fault") == 1
    until(lambda: daemon.files == set(), "the janitor")
    assert daemon.janitor is None


# Reloads


def reload(servers: Servers) -> Run:
    return servers.run(*dorrit("reload", servers.path))


NEW = """
def said(conn, message):
    conn.data += 1
    conn.save(str(conn.data).encode())
    conn.send(f"new {message} {conn.data}")
"""


def test_a_reload_has_the_new_code_go_on_with_all_clients(servers: Servers) -> None:
    run = serve(servers)
    worker = worker_of(run.pid)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    message = frame(TEXT, b"in two parts")
    clients[0].socket.sendall(message[:8])
    write(servers, NEW)
    done = reload(servers)
    assert done.process.returncode == 0, done.err
    assert re.search(r"reloaded with 3 connections in \d", done.out)
    clients[0].socket.sendall(message[8:])
    assert clients[0].text() == "new in two parts 2"
    assert [client.ask("two") for client in clients[1:]] == ["new two 2"] * 2
    assert worker_of(run.pid) != worker
    found = status(servers)
    assert found["restarted"].startswith("by a reload, with 3 connections in ")
    assert found["crashes"] == "0"
    kill(run)
    assert [client.ask("three") for client in clients[1:]] == ["new three 3"] * 2
    errors = [line for line in run.err.splitlines() if " ERROR " in line]
    assert "killed: SIGKILL" in errors[0]  # which was the test itself
    assert servers.stop(run) == 0


def test_broken_code_is_refused_and_the_server_goes_on(servers: Servers) -> None:
    run = serve(servers)
    worker = worker_of(run.pid)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    file = write(servers)
    good = file.read_text()
    file.write_text("broken(")
    for _ in range(2):
        done = reload(servers)
        assert done.process.returncode == 1
        assert done.err.startswith(f"dorrit: {servers.path}: not reloaded: ")
        assert "'(' was never closed" in done.err
        assert client.ask("still").startswith("still ")
    assert worker_of(run.pid) == worker
    file.write_text(good)
    assert reload(servers).process.returncode == 0
    assert client.ask("four") == "four 4"
    assert servers.stop(run) == 0


RAISING = """
def start():
    if is_there("hold"):
        raise ValueError("not yet")
"""


def test_code_that_can_not_be_started_is_tried_again_until_it_can(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, RAISING + NEW)
    asked = servers.start(*dorrit("reload", servers.path))
    until(lambda: run.err.count("the new code can't be started") >= 2, "two failures")
    assert "ValueError: not yet" in run.err
    early = knock(servers)
    client.send("two")
    (servers.directory / "hold").unlink()
    assert client.text() == "new two 2"
    assert b"HTTP/1.1 101 " in read_to(early, b"\r\n\r\n")
    asked.wait()
    assert run.process.poll() is None
    assert servers.stop(run) == 0


def test_code_that_is_mended_is_used_when_it_is_tried_again(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    (servers.directory / "hold").touch()
    write(servers, RAISING)
    run.process.send_signal(signal.SIGUSR2)
    until(lambda: "the new code can't be started" in run.err, "a failure")
    write(servers, NEW)
    assert client.ask("one") == "new one 1"
    assert servers.stop(run) == 0


def test_when_the_time_of_the_new_code_is_over_clients_are_told_to_come_again(
    servers: Servers,
) -> None:
    run = serve(servers, "", "--resume-timeout", 1)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, RAISING)
    run.process.send_signal(signal.SIGUSR2)
    assert ended_with(client) == 1012
    assert run.wait() == 1
    assert "the new code has not come to serve in time" in run.err
    assert left_of(servers) == set()


def test_new_code_that_hangs_in_its_start_is_waited_for_as_long(servers: Servers) -> None:
    run = serve(servers, "", "--resume-timeout", 1)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, HELD)
    run.process.send_signal(signal.SIGUSR2)
    assert ended_with(client) == 1012
    until(lambda: run.process.poll() is not None or left_of(servers) == set(), "its end")
    assert run.wait() == 1, run.err


def test_two_reloads_at_once_are_both_answered(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    write(servers, NEW)
    both = [servers.start(*dorrit("reload", servers.path)) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0], [one.err for one in both]
    assert client.ask("two") == "new two 2"
    assert servers.stop(run) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_follows_a_reload_ends_it_in_order(
    servers: Servers, number: signal.Signals
) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    run.process.send_signal(signal.SIGUSR2)
    run.process.send_signal(number)
    assert ended_with(client) == 1001
    assert run.wait() == 0, run.err
    assert left_of(servers) == set()


def test_a_stop_while_the_new_code_starts_ends_it_in_order(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, HELD)
    run.process.send_signal(signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the new code")
    run.process.terminate()
    (servers.directory / "go on").touch()
    assert ended_with(client) == 1001
    assert run.wait() in {0, 1}, run.err
    assert left_of(servers) == set()


@BOTH_WAYS
def test_a_reload_while_a_reload_starts_is_not_lost(servers: Servers, ways: list[str]) -> None:
    command = servers.command(f"{write(servers)}:app", *ways)
    run = servers.start(*command, env=environment()).until_listening()
    client = servers.connect()
    (servers.directory / "hold").touch()
    write(servers, HELD)
    run.process.send_signal(signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the new code")
    write(servers, NEW)
    run.process.send_signal(signal.SIGUSR2)
    (servers.directory / "go on").touch()
    until(lambda: run.err.count(" reloaded: ") == 2, "the second reload")
    assert client.ask("one") == "new one 1"
    assert servers.stop(run) == 0


def test_a_worker_that_is_killed_while_new_code_starts_is_followed_by_another(
    servers: Servers,
) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    write(servers, HELD + NEW)
    run.process.send_signal(signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the new code")
    os.kill(worker_of(run.pid), signal.SIGKILL)
    (servers.directory / "go on").touch()
    assert client.ask("two") == "new two 2"
    assert servers.stop(run) == 0


@BOTH_WAYS
def test_a_reload_while_handlers_end_for_a_reload_is_not_lost(
    servers: Servers, ways: list[str]
) -> None:
    source = """
        async def said(conn, message):
            path_of("waiting").touch()
            while not is_there("go on"):
                await asyncio.sleep(0.01)
            conn.send(str(VERSION))
    """
    file = write(servers, source)
    command = servers.command(f"{file}:app", "--stop-grace", 100, *ways)
    run = servers.start(*command, env=environment()).until_listening()
    client = servers.connect()
    client.send("")
    until((servers.directory / "waiting").exists, "the handler")
    write(servers, source, version=2)
    run.process.send_signal(signal.SIGUSR2)
    run.until_logged(" reloading")
    run.process.send_signal(signal.SIGUSR2)
    (servers.directory / "go on").touch()
    assert client.text() == "1"
    until(lambda: run.err.count(" reloaded: ") == 2, "the second reload")
    assert client.ask("") == "2"
    assert servers.stop(run) == 0


def test_async_handlers_end_within_the_grace_of_a_reload(servers: Servers) -> None:
    source = """
        async def said(conn, message):
            if message == "wait":
                path_of("waiting").touch()
                while not is_there("go on"):
                    await asyncio.sleep(0.01)
            conn.data += 1
            conn.save(str(conn.data).encode())
            conn.send(f"{VERSION} {message} {conn.data}")
    """
    run = serve(servers, source, "--stop-grace", 100)
    waiting, other = servers.connect(), servers.connect()
    waiting.send("wait")
    waiting.send("next")
    until((servers.directory / "waiting").exists, "the handler")
    write(servers, source, version=2)
    run.process.send_signal(signal.SIGUSR2)
    run.until_logged(" reloading")
    other.send("meanwhile")
    (servers.directory / "go on").touch()
    assert [waiting.text(), waiting.text()] == ["1 wait 1", "2 next 2"]
    assert other.text() in {"1 meanwhile 1", "2 meanwhile 1"}
    assert servers.stop(run) == 0


def test_clients_who_send_all_the_time_notice_no_reload_and_a_kill_costs_two_of_them(
    servers: Servers,
) -> None:
    run = serve(servers)
    clients = [servers.connect() for _ in range(20)]
    over, wrong = threading.Event(), []

    def talk(client: Client) -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                answer = client.ask(f"{number}")
            except (EOFError, OSError, AssertionError) as error:
                wrong.append(repr(error))
                return
            if answer != f"{number} {number}":
                wrong.append(answer)
                return

    threads = [threading.Thread(target=talk, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            done = reload(servers)
            assert done.process.returncode == 0, done.err
            # Costs two of them at most: whose input was handled, and who was written to.
            kill(run)
    finally:
        over.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert len(wrong) <= 6, wrong
    servers.stop(run)


# The end of the supervisor


@pytest.mark.parametrize("moment", ["idle", "a handler blocks"])
def test_W1_when_the_supervisor_is_killed_the_worker_ends(servers: Servers, moment: str) -> None:
    run = serve(servers, "", "--stop-grace", 0.5)
    worker = worker_of(run.pid)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    if moment != "idle":
        servers.connect().send("block")
        until((servers.directory / "blocked").exists, "the handler")
    run.process.kill()
    run.wait()
    if moment == "idle":
        assert [ended_with(client) for client in clients] == [1001] * 3
    else:
        (servers.directory / "go on").touch()
        for client in clients:
            while not client.ended():
                pass
    until(lambda: proc.is_gone(worker), "the end of the worker")


def test_when_the_supervisor_is_killed_while_the_worker_waits_after_crashes_clients_see_the_end(
    servers: Servers,
) -> None:
    file = write(servers, ALWAYS_CRASHING)
    command = servers.command(f"{file}:app", "--supervise")
    run = servers.start(*command, env=patient(servers)).until_listening()
    client, culprit = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    (servers.directory / "hold").touch()
    culprit.send("crash")
    until(lambda: re.search(r" waiting \d{4}\.", run.err), "the wait of an hour")
    worker = worker_of(run.pid)
    run.process.kill()
    try:
        until(lambda: proc.is_gone(worker), "the end of the worker")
        while not client.ended():
            pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.root
@AS
def test_when_a_daemons_supervisor_is_killed_the_janitor_removes_its_files(
    daemon: Daemon, options: list[str]
) -> None:
    start_daemon(daemon, *options)
    worker = worker_of(daemon.pid)
    client = daemon.connect()
    with client.socket:
        assert client.ask("one") == "one 1"
        daemon.kill()
        assert ended_with(client) == 1001
    assert daemon.wait() == -signal.SIGKILL
    until(lambda: proc.is_gone(worker), "the end of the worker")
    if options:  # no privileges have gone, so there is no janitor
        assert ".pid" in daemon.files
    else:
        until(lambda: daemon.files == {".command"}, "the janitor")
    start_daemon(daemon, *options)
    assert daemon.ask("again") == "again 1"
    assert daemon.stop() == 0


# What the server's code forks


FORKS = pytest.mark.parametrize("how", ["fork", "run"])


@FORKS
@pytest.mark.parametrize("number_of_worker", [1, 2])
def test_a_client_whose_connection_is_closed_sees_the_end_though_a_forked_process_lives(
    servers: Servers, how: str, number_of_worker: int
) -> None:
    run = serve(servers)
    client, other = servers.connect(), servers.connect()
    if number_of_worker == 2:
        kill(run)
    forked = int(client.ask(how))
    assert other.ask("one") == "one 1"
    client.send("close")
    assert ended_with(client) == 4000
    assert not proc.is_gone(forked)

    def has_nothing() -> bool:
        names = proc.descriptors(forked).values()
        return not any("socket:" in name or "memfd" in name for name in names)

    until(has_nothing, "it has let go of what is the worker's")
    assert servers.stop(run) == 0
    assert not proc.is_gone(forked)
    assert left_of(servers) == set()


@FORKS
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_is_ended_is_followed_by_another_though_a_forked_process_lives(
    servers: Servers, how: str, number: signal.Signals
) -> None:
    run = serve(servers)
    client = servers.connect()
    forked = int(client.ask(how))
    kill(run, number)
    assert client.ask("one") == "one 1"
    client.send("close")
    assert ended_with(client) == 4000
    assert not proc.is_gone(forked)
    assert servers.stop(run) == 0


@FORKS
def test_when_the_supervisor_is_killed_clients_see_the_end_though_a_forked_process_lives(
    servers: Servers, how: str
) -> None:
    run = serve(servers)
    client = servers.connect()
    forked = int(client.ask(how))
    worker = worker_of(run.pid)
    run.process.kill()
    assert ended_with(client) == 1001
    until(lambda: proc.is_gone(worker), "the end of the worker")
    assert not proc.is_gone(forked)


def test_a_forked_process_that_crashes_crashes_alone(servers: Servers) -> None:
    run = serve(servers, """
        def said(conn, message):
            if (pid := os.fork()) == 0:
                crash()
            conn.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    """)  # fmt: skip
    client = servers.connect()
    assert client.ask("") == str(-signal.SIGSEGV)
    assert client.ask("") == str(-signal.SIGSEGV)
    assert "crashed" not in run.err
    assert servers.stop(run) == 0


# Descriptors and memory


def counts(run: Run) -> tuple[int, int]:
    """How many descriptors the supervisor and the worker have while they do nothing."""
    until(lambda: len(workers_of(run.pid)) == 2, "the spare worker")
    worker = worker_of(run.pid)
    for pid in (run.pid, worker):
        until_it_sleeps(pid)
    return len(proc.descriptors(run.pid)), len(proc.descriptors(worker))


@pytest.mark.parametrize("how", ["kill", "crash", "reload"])
def test_after_ten_workers_both_have_as_many_descriptors_as_before(
    servers: Servers, how: str
) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    supervisors, firsts = counts(run)

    def end() -> None:
        if how == "reload":
            done = reload(servers)
            assert done.process.returncode == 0, done.err
        else:
            kill(run, signal.SIGKILL if how == "kill" else signal.SIGSEGV)

    end()
    assert client.ask("two") == "two 2"
    # What is forked and what is executed may have one or two that differ.
    seconds = counts(run)[1]
    assert abs(seconds - firsts) <= 2
    for number in range(3, 12):
        end()
        assert client.ask("more") == f"more {number}"
    until(lambda: counts(run) == (supervisors, seconds), "as few as before")
    assert servers.stop(run) == 0


def test_when_300_clients_have_gone_both_have_as_many_descriptors_as_before(
    servers: Servers,
) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    before = counts(run)
    many = [knock(servers) for _ in range(300)]
    for one in many:
        assert b"HTTP/1.1 101 " in read_to(one, b"\r\n\r\n")
    assert status(servers)["connections"] == "301"
    kill(run)
    assert status(servers)["connections"] == "301"
    assert min(counts(run)) > 300
    for one in many:
        one.close()
    until_connections(servers, 1)
    supervisors, workers = counts(run)
    assert supervisors == before[0]
    assert abs(workers - before[1]) <= 2
    assert client.ask("two") == "two 2"
    assert servers.stop(run) == 0


@pytest.mark.root
@AS
def test_the_worker_has_nothing_of_what_the_supervisor_holds_in_the_file_system(
    daemon: Daemon, options: list[str]
) -> None:
    start_daemon(daemon, *options)
    worker = worker_of(daemon.pid)
    for _ in range(3):
        until_it_sleeps(daemon.pid)
        until_it_sleeps(worker)
        client = daemon.connect()
        with client.socket:
            assert client.ask("one") == "one 1"
            supervisors, workers = proc.descriptors(daemon.pid), proc.descriptors(worker)
            assert [name for name in workers.values() if name.startswith(str(RUN.resolve()))] == []
            # A client's is the same in both; the channel's are two ends.
            shared = {name for name in supervisors.values() if name.startswith("socket:")}
            shared &= set(workers.values())
            assert len(shared) == 1
            for pid, found in ((daemon.pid, supervisors), (worker, workers)):
                for number in found:
                    if number > 2:
                        text = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
                        flags = int(re.findall(r"flags:\s+(\d+)", text)[0], 8)
                        assert flags & os.O_CLOEXEC, (pid, number, found[number])
        assert "memfd:dorrit" not in Path(f"/proc/{daemon.pid}/maps").read_text()
        assert "memfd:dorrit" in Path(f"/proc/{worker}/maps").read_text()
        kill_idle(worker)
        worker = next_worker(daemon, worker)
    assert daemon.stop() == 0


def test_a_worker_has_the_signals_directory_and_umask_of_the_first_one(servers: Servers) -> None:
    run = serve(servers)
    first = worker_of(run.pid)

    def picture(pid: int) -> list[object]:
        shown = proc.status(pid)
        return [
            shown["SigBlk"],
            shown["SigIgn"],
            shown["Umask"],
            shown["Uid"],
            shown["Gid"],
            shown["Groups"],
            Path(f"/proc/{pid}/cwd").readlink(),
            Path(f"/proc/{pid}/oom_score_adj").read_text(),
            proc.stat(pid)["session"],
            proc.stat(pid)["group"],
        ]

    until_it_sleeps(first)
    before = picture(first)
    kill(run)
    second = worker_of(run.pid)
    until_it_sleeps(second)
    assert picture(second) == before
    kill(run, signal.SIGSEGV)
    third = worker_of(run.pid)
    until_it_sleeps(third)
    assert picture(third) == before
    assert servers.stop(run) == 0


# The service manager


class Manager:
    """Hears how the server is, and from which process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.path))
        self.path.chmod(0o777)
        self.told: list[tuple[int, str]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            if not data:
                return
            [(_, _, credentials)] = ancillary
            pid, _, _ = struct.unpack("iII", credentials)
            self.told += [(pid, line) for line in data.decode().splitlines()]

    def words(self) -> list[str]:
        return [word for _, word in self.told]

    def until_told(self, word: str, times: int = 1) -> None:
        until(lambda: self.words().count(word) >= times, word)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path))
        self.reader.join()
        self.socket.close()


@pytest.fixture
def manager(directory: Path) -> Iterator[Manager]:
    made = Manager(directory)
    yield made
    made.close()


def test_the_service_manager_hears_all_from_the_supervisor(
    servers: Servers, manager: Manager
) -> None:
    # The pid of the watchdog must be the server's: a shell sets it and becomes the server.
    shell = 'export WATCHDOG_PID=$$; exec "$@"'
    command = servers.command(f"{write(servers)}:app", "--supervise")
    variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "4000000"}
    run = servers.start("bash", "-c", shell, "bash", *command, env=environment(**variables))
    manager.until_told("READY=1")
    assert f"STATUS=listening on {servers.path}" in manager.words()
    client = servers.connect()
    assert client.ask("one") == "one 1"
    alive = manager.words().count("WATCHDOG=1")
    manager.until_told("WATCHDOG=1", alive + 3)
    assert "RELOADING=1" not in manager.words()
    done = reload(servers)
    assert done.process.returncode == 0, done.err
    manager.until_told("RELOADING=1")
    manager.until_told("READY=1", 2)
    kill(run)
    manager.until_told("READY=1", 3)
    assert any(word.startswith("STATUS=") and "after a crash" in word for word in manager.words())
    alive = manager.words().count("WATCHDOG=1")
    manager.until_told("WATCHDOG=1", alive + 3)
    assert servers.stop(run) == 0
    manager.until_told("STOPPING=1")
    assert {pid for pid, _ in manager.told} == {run.pid}
    order = [word for word in manager.words() if word in {"READY=1", "RELOADING=1", "STOPPING=1"}]
    assert order == ["READY=1", "RELOADING=1", "READY=1", "READY=1", "STOPPING=1"]


def with_watchdog(servers: Servers, manager: Manager, seconds: float) -> tuple[Run, Client]:
    """Run a supervised server that a service manager looks after; return it with a client."""
    shell = 'export WATCHDOG_PID=$$; exec "$@"'
    command = servers.command(f"{write(servers)}:app", "--supervise")
    variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": f"{seconds * 1e6:.0f}"}
    run = servers.start("bash", "-c", shell, "bash", *command, env=environment(**variables))
    manager.until_told("READY=1")
    client = servers.connect()
    assert client.ask("one") == "one 1"
    return run, client


def test_L4_a_worker_that_hangs_is_ended_before_the_service_manager_ends_the_server(
    servers: Servers, manager: Manager
) -> None:
    run, client = with_watchdog(servers, manager, 4)
    worker = worker_of(run.pid)
    culprit = servers.connect()
    culprit.send("block")
    assert culprit.close_code() == 1011
    assert client.ask("two") == "two 2"
    assert f"ERROR the worker {worker} has not answered for 3 seconds, and is ended" in run.err
    assert "crashed: SIGABRT (Aborted); another process goes on" in run.err
    assert re.search(r'File ".*server\.py", line \d+ in said', run.err), "where it hung"
    # The one that goes on has not been asked what the last one was, and is left alone.
    following = worker_of(run.pid)
    alive = manager.words().count("WATCHDOG=1")
    manager.until_told("WATCHDOG=1", alive + 4)
    assert client.ask("three") == "three 3"
    assert worker_of(run.pid) == following
    assert run.err.count("crashed: ") == 1
    assert "SIGKILL" not in run.err
    assert servers.stop(run) == 0


def test_L4_a_worker_that_is_stopped_is_killed_in_the_end(
    servers: Servers, manager: Manager
) -> None:
    run, client = with_watchdog(servers, manager, 4)
    worker = worker_of(run.pid)
    until_it_sleeps(worker)  # who is being written to when it ends loses the connection
    os.kill(worker, signal.SIGSTOP)
    assert client.ask("two") == "two 2"
    assert "killed: SIGKILL; another process goes on" in run.err
    assert servers.stop(run) == 0


def test_callers_of_dorrit_status_do_not_make_up_for_a_worker_that_hangs(
    servers: Servers, manager: Manager
) -> None:
    run, client = with_watchdog(servers, manager, 4)
    servers.connect().send("block")
    until((servers.directory / "blocked").exists, "the handler")
    pid = str(run.pid)
    until(
        lambda: status(servers)["pid"] == pid and " has not answered for " in run.err,
        "the end of the worker",
    )
    assert client.ask("two") == "two 2"
    assert servers.stop(run) == 0


def test_dorrit_status_is_answered_while_a_handler_blocks(servers: Servers) -> None:
    # One that is alone does not answer then.
    run = serve(servers)
    servers.connect().send("block")
    until((servers.directory / "blocked").exists, "the handler")
    assert status(servers)["connections"] == "1"
    (servers.directory / "go on").touch()
    assert servers.stop(run) == 0


def test_dorrit_status_is_answered_while_there_is_no_worker(servers: Servers) -> None:
    run = serve(servers, HELD)
    client = servers.connect()
    end_worker_while_none_starts(servers, run)
    found = status(servers)
    assert found["connections"] == "1"
    assert found["pid"] == str(run.pid)
    (servers.directory / "go on").touch()
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0
