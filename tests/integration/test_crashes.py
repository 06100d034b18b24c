"""Real faults in the callbacks of real servers (R28, R29)."""

import functools
import os
import pwd
import re
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.daemons import Daemon, Daemons
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.log_daemon import LogDaemon, log_daemon
from tests.support.servers import FIVE, TIMEOUT, Client, Run, Servers, until, until_it_sleeps

NOBODY = pwd.getpwnam("nobody").pw_uid

CRASHING = """
    import ctypes, signal
    def ws_read_callback(conn, binary, data):
        if data == b"crash":
            ctypes.string_at(0)
        elif data.startswith(b"raise "):
            os.kill(os.getpid(), int(data[6:]))
        elif data == b"fork":
            if os.fork() == 0:
                ctypes.string_at(0)
            data = str(os.waitstatus_to_exitcode(os.wait()[1])).encode()
        ws_write_conn(conn, binary, data)
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": SEARCHED}


def sent(path: Path, text: str = "crash") -> Client:
    """A client that has sent a message which crashes the server."""
    client = Client(path)
    client.send(text)
    return client


def crash(path: Path, text: str = "crash", code: int = 1011) -> None:
    """Crash a server; return when it serves again and has closed the connection."""
    client = sent(path, text)
    with client.socket:
        assert client.close_code() == code


def crash_for_good(path: Path) -> None:
    """Crash a server that is not started again."""
    client = sent(path)
    with client.socket:
        assert client.ended()


def ask(path: Path, text: str) -> str:
    client = Client(path)
    with client.socket:
        return client.ask(text)


def picture(pid: int, path: Path) -> dict[str, object]:
    """What must be the same after a crash."""
    shown = proc.status(pid)
    status = path.lstat()
    return {
        "who": [shown[name] for name in ("Uid", "Gid", "Groups", *proc.CAPABILITIES)],
        "place": [proc.stat(pid), shown["Umask"], Path(f"/proc/{pid}/cwd").readlink()],
        "streams": [name for number, name in proc.descriptors(pid).items() if number < 3],
        "signals": [shown["SigBlk"], proc.ignored_signals(pid)],
        "socket": (status.st_ino, status.st_uid, status.st_gid, stat.filemode(status.st_mode)),
    }


def expect_traceback(
    lines: list[str], file: Path, restarts: int, goes_on: str = "restarted in place"
) -> None:
    """Look for the report of each crash."""
    text = "\n".join(lines)
    assert text.count(f"crashed: SIGSEGV (Segmentation fault); {goes_on}: ") == restarts
    number = 1 + next(i for i, line in enumerate(file.read_text().splitlines()) if "at(0)" in line)
    found = re.findall(rf'File "{file}", line {number} in ws_read_callback', text)
    assert len(found) == restarts


# Root or nobody, in the foreground or as a daemon


@pytest.fixture
def foreground(directory: Path) -> Iterator[Servers]:
    servers = Servers(directory)
    yield servers
    servers.close()


def run(servers: Servers, *options: object, **settings: object) -> Run:
    """Run a server that crashes, by an interpreter that everybody may run."""
    file = servers.write(CRASHING)
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", servers.path]
    started = servers.start(*words, *options, **{"env": ENVIRONMENT} | settings)
    return started.until_listening()


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "settings", "uid"),
    [
        (["-u", "root", "-g", "root"], {}, 0),
        ([], {}, NOBODY),
        ([], {"user": NOBODY, "group": NOBODY, "extra_groups": []}, NOBODY),
    ],
    ids=["root", "root that becomes nobody", "nobody"],
)
def test_R28_R29_in_the_foreground_the_same_process_serves_again(
    foreground: Servers, options: list[str], settings: dict[str, object], uid: int
) -> None:
    if settings:
        os.chown(foreground.directory, NOBODY, NOBODY)
    server = run(foreground, *options, **settings)
    before = picture(server.pid, server.path)
    assert proc.status(server.pid)["Uid"] == [str(uid)] * 4
    until_it_sleeps(server.pid)
    count = len(proc.descriptors(server.pid))
    for _ in range(4):
        crash(server.path)
        assert ask(server.path, "again") == "again"
        until(lambda: len(proc.descriptors(server.pid)) == count, "as few descriptors as before")
    assert picture(server.pid, server.path) == before
    expect_traceback(server.err.splitlines(), foreground.directory / "server.py", 4)
    assert foreground.stop(server) == 0
    assert [path.name for path in foreground.directory.iterdir() if "socket" in path.name] == []


AS_SOON_AS_IT_SAYS_SO = """
    import ctypes, logging
    from pathlib import Path

    MARK = Path(__file__).with_name("mark")

    def fault_once(record):
        if "listening on" in record.getMessage() and not MARK.exists():
            MARK.touch()
            ctypes.string_at(0)
        return True

    def ws_init_func():
        logging.getLogger("dorrit").addFilter(fault_once)
"""


def test_R28_a_crash_as_soon_as_the_server_says_that_it_serves_is_a_restart(
    foreground: Servers,
) -> None:
    file = foreground.write(AS_SOON_AS_IT_SAYS_SO)
    os.chown(foreground.directory, NOBODY, NOBODY)
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", foreground.path]
    server = foreground.start(*words, env=ENVIRONMENT).until_listening()
    assert "crashed: SIGSEGV" in server.err
    assert ask(server.path, "again") == "again"
    assert foreground.stop(server) == 0


OVERFLOWING = """
import asyncio, faulthandler
from dorrit import Server

app = Server("overflow")

def overflow():
    faulthandler._stack_overflow()

@app.on_message
async def said(conn, message):
    if message == "crash":
        await asyncio.to_thread(overflow)
    conn.send(message)
"""


def test_R28_an_overflow_of_a_threads_stack_is_a_crash_as_any_other(foreground: Servers) -> None:
    file = foreground.directory / "overflow.py"
    file.write_text(OVERFLOWING)
    words = [interpreter_for_nobody(), "-m", "dorrit", "serve", f"{file}:app", "-x"]
    server = foreground.start(*words, "-l", foreground.path, env=ENVIRONMENT).until_listening()
    for restarts in (1, 2):
        crash(server.path)
        assert ask(server.path, "again") == "again"
        assert server.err.count("crashed: SIGSEGV") == restarts
        assert server.err.count(f'File "{file}", line 8 in overflow') == restarts
    assert foreground.stop(server) == 0


@pytest.fixture
def log() -> Iterator[LogDaemon]:
    with log_daemon() as made:
        yield made


@pytest.fixture
def daemon(either: Daemons) -> Daemon:
    return either(CRASHING)


def start(daemon: Daemon, *options: object) -> None:
    words = [interpreter_for_nobody(), *daemon.command(*options)[1:]]
    daemon.start(command=words, env=ENVIRONMENT)


def idle_descriptors(daemon: Daemon) -> int:
    """How many its process has, with those of the spare worker if it has a supervisor."""
    if daemon.server != daemon.pid:
        until(lambda: len(daemon.workers) == 2, "the spare worker")
        until_it_sleeps(daemon.pid)
    return len(proc.descriptors(daemon.pid))


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "uid"), [(["-u", "root", "-g", "root"], 0), ([], NOBODY)], ids=["root", "nobody"]
)
def test_R28_R29_as_a_daemon_the_same_process_serves_again_or_another_worker(
    log: LogDaemon, daemon: Daemon, options: list[str], uid: int
) -> None:
    log.identities = (daemon.name,)
    start(daemon, *options)
    lines = log.until_said("listening on")
    server = daemon.server
    is_alone = server == daemon.pid
    before = [picture(pid, daemon.path) for pid in (daemon.pid, server)]
    files = daemon.files
    for pid in daemon.processes:
        assert proc.status(pid)["Uid"] == [str(uid)] * 4
        until_it_sleeps(pid)
    count = idle_descriptors(daemon)
    for _ in range(3):
        # The kernel keeps ten messages for who does not read them meanwhile.
        culprit = sent(daemon.path)
        lines = log.until_said("listening on")
        assert culprit.close_code() == 1011
        culprit.socket.close()
        assert ask(daemon.path, "again") == "again"
        how = "restarted in place" if is_alone else "another process goes on"
        expect_traceback(lines, daemon.file, 1, how)
        until(lambda: idle_descriptors(daemon) == count, "as few descriptors as before")
    assert (daemon.server == server) is is_alone
    assert [picture(pid, daemon.path) for pid in (daemon.pid, daemon.server)] == before
    assert daemon.files == files
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"
    status = daemon.run(command=[*daemon.command()[:3], "status", daemon.name])
    assert "crashes     3\n" in status.stdout
    assert daemon.stop() == 0
    assert daemon.files == set()


@pytest.mark.parametrize("options", [["-u", "root", "-g", "root"], []], ids=["root", "nobody"])
def test_O4_a_daemon_that_could_not_be_restarted_after_a_crash_can_be_by_hand(
    log: LogDaemon, daemon: Daemon, options: list[str]
) -> None:
    log.identities = (daemon.name,)
    start(daemon, *options)
    log.until_said("listening on")
    good = daemon.file.read_text()
    daemon.file.write_text("x = = 1\n")
    culprit = sent(daemon.path)
    log.until_said("the server can't go on after a crash: ")
    assert culprit.close_code() == 1011
    culprit.socket.close()
    until(lambda: daemon.files == {".command"}, "its end, and the janitor's")
    daemon.file.write_text(good)
    restart = [*daemon.command()[:3], "restart", daemon.name]
    ended = daemon.run(command=restart, env=ENVIRONMENT)
    assert (ended.returncode, ended.stdout) == (0, f"{daemon.name}: not running\n"), ended.stderr
    daemon.pid = int(daemon.pid_file.read_text())
    assert ask(daemon.path, "again") == "again"
    assert daemon.stop() == 0
    assert daemon.files == set()


# Nobody is refused, nor loses a connection

REQUEST_AND_CRASH = REQUEST + frame(TEXT, b"crash")


class Load:
    """Callers who come to a server without a pause, each in a thread of its own."""

    def __init__(self, path: Path, callers: int) -> None:
        self.path = path
        self.refused = self.answered = self.ended = 0
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def _call(self) -> None:
        while not self.over.wait(0.01):
            try:
                answer = ask(self.path, "hello")
            except (ConnectionRefusedError, FileNotFoundError):
                with self.lock:
                    self.refused += 1
            except (EOFError, ConnectionResetError, BrokenPipeError):
                with self.lock:
                    self.ended += 1
            else:
                assert answer == "hello"
                with self.lock:
                    self.answered += 1

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(TIMEOUT)


def has_crashed(server: Servers, times: int) -> bool:
    return server.runs[0].err.count("crashed: SIGSEGV") == times


@pytest.mark.timeout(600)  # 120 images are started
def test_R28_of_callers_who_come_during_100_crashes_none_is_refused(directory: Path) -> None:
    # Of many servers, since one that crashes again and again takes its time: see the next test.
    crashes, servers, limit = 7, 15, 300.0
    made, loads = [], []
    for index in range(servers):
        own = directory / str(index)
        own.mkdir()
        made.append(Servers(own))
        run(made[-1])
        loads.append(Load(made[-1].path, 2))

    def crash_again_and_again(path: Path) -> None:
        for _ in range(crashes):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(limit)
                client.connect(str(path))
                client.sendall(REQUEST_AND_CRASH)
                while client.recv(1000):
                    pass

    try:
        threads = [threading.Thread(target=crash_again_and_again, args=(s.path,)) for s in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(limit)
        for server in made:
            until(functools.partial(has_crashed, server, crashes), "the crashes")
            assert ask(server.path, "still there?") == "still there?"
        until(lambda: all(load.answered > crashes for load in loads), "answers to all callers")
        for load in loads:
            load.stop()
        assert sum(load.refused + load.ended for load in loads) == 0
        assert [server.runs[0].process.poll() for server in made] == [None] * servers
    finally:
        for load in loads:
            load.stop()
        for server in made:
            server.close()


# Again and again


def waits(log: str) -> list[float]:
    """For how many seconds a server says that it waits, each time."""
    return [float(found) for found in re.findall(r"waiting ([\d.]+) seconds", log)]


def crash_until_it_waits(server: Run, path: Path, seconds: float) -> None:
    """Crash a server until it waits for longer than that.

    How many crashes that takes depends on how long each next image takes to start, for what it
    says is what is left of its wait then.
    """

    def has_begun(images: int) -> bool:
        log = server.err.split("crashed: ")
        return len(log) == images and bool(waits(log[-1]) or " listening on " in log[-1])

    images = 1
    while not any(wait > seconds for wait in waits(server.err)[-1:]):
        sent(path).socket.close()  # it would have to wait as well
        images += 1
        until(functools.partial(has_begun, images), "the next image")


def test_R28_a_server_that_crashes_at_once_again_and_again_waits_and_says_so(
    foreground: Servers,
) -> None:
    server = run(foreground)
    crash_until_it_waits(server, server.path, 2.0)
    caller = socket.socket(socket.AF_UNIX)
    with caller:
        caller.connect(str(server.path))  # it is not refused while the server waits
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert not server.path.exists()


def test_R28_sigterm_ends_the_wait_and_leaves_no_file(foreground: Servers) -> None:
    server = run(foreground)
    crash_until_it_waits(server, server.path, 4.0)
    server.process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    assert server.wait() == 0
    assert "told to stop before the server was started again" in server.err
    assert time.monotonic() - begin < 20
    names = [path.name for path in foreground.directory.iterdir() if "socket" in path.name]
    assert names == []


# What restarts it, and what does not


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL"])
def test_R28_each_of_the_five_signals_restarts_it(foreground: Servers, name: str) -> None:
    server = run(foreground)
    crash(server.path, f"raise {int(signal.Signals[name])}")
    assert ask(server.path, "again") == "again"
    assert f"crashed: {name} " in server.err


def test_R28_a_crash_of_the_restart_itself_is_one_as_well(foreground: Servers) -> None:
    file = foreground.write("""
        import ctypes
        def ws_init_func():
            with open(__file__ + ".starts", "a+") as starts:
                starts.write("x")
                starts.seek(0)
                number = len(starts.read())
            if number == 2:
                ctypes.string_at(0)
        def ws_read_callback(conn, binary, data):
            ctypes.string_at(0)
    """)
    server = foreground.serve(file)
    crash(server.path)
    client = Client(server.path)
    client.socket.close()
    assert client.status == 101
    assert server.err.count("crashed: SIGSEGV") == 2
    assert " in ws_init_func" in server.err


def test_R28_it_does_not_matter_what_who_started_it_had_blocked(foreground: Servers) -> None:
    # Popen's preexec_fn is for programs with one thread; this one has others at times.
    block = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
    )
    words = [interpreter_for_nobody(), "-c", f"{block}; os.execv(sys.argv[1], sys.argv[1:])"]
    file = foreground.write(CRASHING)
    server = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", "-l", foreground.path]
    run = foreground.start(*words, *server, env=ENVIRONMENT).until_listening()
    crash(run.path)
    assert ask(run.path, "again") == "again"
    assert foreground.stop(run) == 0


def test_R28_a_forked_child_crashes_alone(foreground: Servers) -> None:
    server = run(foreground)
    assert ask(server.path, "fork") == str(-signal.SIGSEGV)
    assert ask(server.path, "again") == "again"
    assert "crashed" not in server.err


@pytest.mark.root
def test_R28_without_restart_a_crash_is_the_end(foreground: Servers) -> None:
    server = run(foreground, "--no-restart", "-u", "root", "-g", "root")
    crash_for_good(server.path)
    assert server.wait() == -signal.SIGSEGV
    again = run(foreground, "-u", "root", "-g", "root")
    assert ask(again.path, "again") == "again"


def test_R28_without_restart_a_server_stops_like_any_other(foreground: Servers) -> None:
    server = run(foreground, "--no-restart")
    assert ask(server.path, "here") == "here"
    assert foreground.stop(server) == 0


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        ("def ws_init_func(:", "invalid syntax"),
        ("def ws_init_func(): raise OSError('no more')", "ws_init_func raised OSError: no more"),
    ],
    ids=["a file that can't be loaded", "an init that raises"],
)
def test_R28_a_server_that_cannot_start_again_says_why_and_ends(
    foreground: Servers, becomes: str, reason: str
) -> None:
    server = run(foreground)
    foreground.write(becomes)
    crash(server.path)
    assert server.wait() == 1
    assert reason in server.err
    names = [path.name for path in foreground.directory.iterdir() if "socket" in path.name]
    assert names == []


@pytest.mark.root
def test_R28_a_daemon_that_cannot_start_again_says_why_in_the_log(
    log: LogDaemon, daemon: Daemon
) -> None:
    log.identities = (daemon.name,)
    start(daemon)
    log.until_said("listening on")
    daemon.file.write_text("def ws_init_func(:")
    culprit = sent(daemon.path)
    lines = log.until_said("the server can't go on after a crash")
    assert culprit.close_code() == 1011
    culprit.socket.close()
    assert any("invalid syntax" in line for line in lines)


@pytest.mark.root
def test_R28_a_crash_while_it_stops_does_not_start_it_anew(foreground: Servers) -> None:
    file = foreground.write("import ctypes\ndef ws_exit_func(): ctypes.string_at(0)")
    server = foreground.serve(file)
    assert foreground.stop(server) == -signal.SIGSEGV


@pytest.mark.parametrize(
    "handler", ["signal.SIG_DFL, faulthandler.enable()", "signal.SIG_IGN", "lambda *_: None"]
)
def test_R28_a_handler_of_the_servers_own_is_respected(foreground: Servers, handler: str) -> None:
    first = handler.partition(",")[0]
    file = foreground.write(f"""
        import ctypes, faulthandler, signal
        def ws_init_func():
            signal.signal(signal.SIGBUS, {first})
        def ws_read_callback(conn, binary, data):
            os.kill(os.getpid(), signal.SIGBUS)
            ws_write_conn(conn, binary, data)
    """)
    server = foreground.serve(file)
    client = foreground.connect()
    client.send("x")
    if first == "signal.SIG_DFL":  # that is not a handler
        assert client.close_code() == 1011
        until(lambda: "crashed: SIGBUS" in server.err, "the restart")
    else:
        assert client.text() == "x"
        assert "crashed" not in server.err


def test_R28_a_program_of_its_own_with_relative_names_is_restarted(foreground: Servers) -> None:
    source = FIVE + "import ctypes\n" + "def ws_read_callback(conn, binary, data):\n"
    source += "    ctypes.string_at(0) if data == b'crash' else ws_write_conn(conn, binary, data)\n"
    (foreground.directory / "sub").mkdir()
    (foreground.directory / "sub" / "chat.py").write_text(source + "dorrit.main()\n")
    words = [interpreter_for_nobody(), "sub/chat.py", "-x", "-l", foreground.path, "-b", "50"]
    server = foreground.start(*words, env=ENVIRONMENT).until_listening()
    crash(server.path)
    client = foreground.connect()
    client.send("x" * 46)
    assert client.close_code() == 1009
    assert "crashed: SIGSEGV" in server.err


# Under a service manager


class Manager:
    """What systemd does: it makes the socket, and hears how the server is."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o777)
        self.listener.listen()
        self.words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.words.bind(str(directory / "notify"))
        (directory / "notify").chmod(0o777)
        self.told: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while data := self.words.recv(4096):
            self.told += data.decode().splitlines()

    def start(self, servers: Servers, *options: str) -> Run:
        # The pid must be the server's: a shell sets it and becomes the server.
        shell = 'exec 3<&"$0"; export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"'
        file = servers.write(CRASHING)
        descriptor = self.listener.fileno()
        words = [interpreter_for_nobody(), "-m", "dorrit", "serve", file, "-x", *options]
        return servers.start(
            "bash", "-c", shell, descriptor, *words,
            pass_fds=[descriptor],
            env=ENVIRONMENT | {
                "LISTEN_FDS": "1", "NOTIFY_SOCKET": str(self.path.with_name("notify")),
                "WATCHDOG_USEC": "400000",
            },
        )  # fmt: skip

    def until_told(self, word: str) -> None:
        """Wait until it has heard a word from now on."""
        before = self.told.count(word)
        until(lambda: self.told.count(word) > before, word)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path.with_name("notify")))
        self.reader.join()
        self.listener.close()
        self.words.close()


@pytest.fixture
def manager(directory: Path) -> Iterator[Manager]:
    made = Manager(directory)
    yield made
    made.close()


def test_R25_the_socket_of_a_service_manager_is_used_as_it_is(
    foreground: Servers, manager: Manager
) -> None:
    before = manager.path.lstat()
    server = manager.start(foreground)
    until(lambda: "READY=1" in manager.told, "READY=1")
    assert f"STATUS=listening on {manager.path}" in manager.told
    assert ask(manager.path, "hello") == "hello"
    manager.until_told("WATCHDOG=1")
    crash_until_it_waits(server, manager.path, 2.0)
    manager.until_told("WATCHDOG=1")  # also while it waits
    assert server.err.count(" listening on ") == server.err.count("crashed: ")
    assert ask(manager.path, "again") == "again"
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    until(lambda: "STOPPING=1" in manager.told, "STOPPING=1")
    after = manager.path.lstat()
    assert (after.st_ino, after.st_uid, after.st_mode) == (
        before.st_ino,
        before.st_uid,
        before.st_mode,
    )
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(manager.path))  # the manager still listens


def test_R31_another_path_than_the_service_managers_is_an_error(
    foreground: Servers, manager: Manager
) -> None:
    server = manager.start(foreground, "-l", "/elsewhere")
    assert server.wait() == 2
    assert "the service manager hands over another socket" in server.err
    assert manager.path.exists()
