"""Processes that the server's code makes, by whatever means: they are like any others."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import proc
from tests.support.child_ways import FORKED, PLAIN, WAYS
from tests.support.daemons import Daemons, reaper
from tests.support.servers import TIMEOUT, Run, Servers, dorrit, until

ROOT = Path(__file__).parents[3]

WAYS_IMPORTED = f"""\
import asyncio, ctypes, os, signal, sys, threading, time
sys.path.append({os.fspath(ROOT)!r})
import multiprocessing
from multiprocessing import TimeoutError
from tests.support.child_ways import *
"""

OBJECTS = (
    WAYS_IMPORTED
    + """
from dorrit import Server
app = Server("maker")
conns = []

@app.on_open
{kind}def opened(conn):
    conns.append(conn)

@app.on_message
{kind}def said(conn, message):
    if message == "close the first":
        conns[0].close()
        return
    made = WAYS[message]()
    conn.send(str(made if isinstance(made, int) else {waits}made))
"""
)

FUNCTIONS = (
    WAYS_IMPORTED
    + """
conns = []
def ws_open_callback(conn, cookie):
    conns.append(conn)
    return 0
def ws_read_callback(conn, binary, data):
    if data == b"close the first":
        ws_close_conn(conns[0], 0)
        return
    ws_write_conn(conn, 0, str(WAYS[data.decode()]()).encode())
"""
)

KINDS = ["five functions", "plain", "asyncio", "uvloop"]

EVERY = [(kind, way) for kind in KINDS for way in (WAYS if kind in KINDS[2:] else PLAIN)]
"""Every way in every kind of server that has it."""

in_every_way = pytest.mark.parametrize(
    ("maker", "way"), EVERY, indirect=["maker"], ids=map(", ".join, EVERY), scope="module"
)
in_every_kind = pytest.mark.parametrize("kind", KINDS)


def start(servers: Servers, kind: str, *options: object, source: str = "") -> Run:
    """Start a server of a kind, in a process group of its own."""
    if kind == "five functions":
        file: object = servers.write(FUNCTIONS + textwrap.dedent(source))
    else:
        path = servers.directory / "maker.py"
        words = ("", "") if kind == "plain" else ("async ", "await ")
        path.write_text(OBJECTS.format(kind=words[0], waits=words[1]) + textwrap.dedent(source))
        file = f"{path}:app"
        if kind != "plain":
            options = ("--event-loop", kind, *options)
    return servers.start(*servers.command(file, *options), start_new_session=True).until_listening()


MARK = {"MADE_BY_TEST": secrets.token_hex(8)}
"""In the environment of all that is started here, and of what that makes."""


def end_all() -> None:
    """End what has the mark: a number alone may be another process's by now."""
    mark = "=".join(*MARK.items()).encode()

    def is_left() -> bool:
        found = False
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
                    found = True
        return found

    # One that has been ended may have made another one meanwhile.
    until(lambda: not is_left(), "the end of what is left")


@pytest.fixture(autouse=True, scope="module")
def environment() -> Iterator[None]:
    """Mark what is started, and end what is left of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MARK.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            end_all()


class Maker:
    """A server that makes processes.

    Attributes:
        kind: What its functions are like.
        run: It.
        client: A client, which asks for them.
        first: What its descriptors were of before it made any.
    """

    def __init__(self, servers: Servers, kind: str) -> None:
        self.servers = servers
        self.kind = kind
        self.run = start(servers, kind)
        self.client = servers.connect()
        self.first = opened_by(self.run.pid)
        self.made: list[int] = []

    def make(self, way: str) -> int:
        self.made.append(int(self.client.ask(way)))
        return self.made[-1]

    def close(self) -> None:
        self.servers.close()


@pytest.fixture(scope="module")
def maker(request: pytest.FixtureRequest) -> Iterator[Maker]:
    with tempfile.TemporaryDirectory(prefix="dorrit-", dir="/tmp") as directory:
        made = Maker(Servers(Path(directory)), request.param)
        yield made
        made.close()


class PlainProgram:
    """A program without a server that makes processes: so are ours to be."""

    def __init__(self) -> None:
        source = WAYS_IMPORTED + textwrap.dedent("""
            for line in sys.stdin:
                made = WAYS[line.strip()]
                is_async = asyncio.iscoroutinefunction(made)
                print(asyncio.run(made()) if is_async else made(), flush=True)
        """)
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.made: dict[str, int] = {}

    def make(self, way: str) -> int:
        if way not in self.made:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(way + "\n")
            self.process.stdin.flush()
            self.made[way] = int(self.process.stdout.readline())
            until_it_sleeps(self.made[way])
        return self.made[way]

    def close(self) -> None:
        # What it has made may hold its streams: nobody waits for their end.
        self.process.kill()
        self.process.wait(TIMEOUT)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def plain_program() -> Iterator[PlainProgram]:
    program = PlainProgram()
    try:
        yield program
    finally:
        program.close()


def opened_by(pid: int) -> set[str]:
    """What a process has open besides what its standard streams are."""
    found = proc.descriptors(pid)
    return {*found.values()} - {found.get(number) for number in range(3)}


def sockets_at(directory: Path) -> set[str]:
    """The sockets that are bound there, and those that have been taken from one that is."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    words = [line.split() for line in lines if f" {directory}/" in line]
    return {f"socket:[{inode}]" for *_, inode, _ in words}


def signals_of(pid: int) -> dict[str, int]:
    """The signals that a process blocks, ignores and handles, but for those of the C library."""
    status = proc.status(pid)
    others = sum(1 << (number - 1) for number in range(32, signal.SIGRTMIN))
    return {name: int(status[name][0], 16) & ~others for name in ("SigBlk", "SigIgn", "SigCgt")}


def sleeps(pid: int) -> bool:
    """Whether a process does nothing but sleep."""
    return str(proc.waits_in(pid)).endswith("nanosleep")


def until_it_sleeps(pid: int) -> None:
    until(lambda: sleeps(pid), "its sleep")


# Signals


@in_every_way
def test_its_signals_are_those_of_one_that_a_plain_program_makes(
    maker: Maker, plain_program: PlainProgram, way: str
) -> None:
    pid = maker.make(way)
    until_it_sleeps(pid)
    assert signals_of(pid) == signals_of(plain_program.make(way))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@in_every_way
def test_it_ends_by_a_signal_and_the_server_goes_on(
    maker: Maker, way: str, number: signal.Signals
) -> None:
    pid = maker.make(way)
    until_it_sleeps(pid)
    before = proc.children(maker.run.pid)
    os.kill(pid, number)
    if way == "ProcessPoolExecutor" and number == signal.SIGINT:
        # It hands the KeyboardInterrupt to who waits for the result, and takes more work.
        until(lambda: not sleeps(pid), "its interruption")
    else:
        until(lambda: proc.is_gone(pid), "its end")
    if way == "Pool":
        # A thread of the pool forks another worker. While it does, the program must start nothing:
        # the worker would inherit a pipe of whose end subprocess.Popen waits to hear.
        until(lambda: len(proc.children(maker.run.pid)) == len(before), "another worker")
    maker.make("Popen")
    assert "stopping" not in maker.run.err


@in_every_kind
def test_a_signal_that_comes_in_its_first_moment_ends_it_and_does_not_wake_the_server(
    servers: Servers, kind: str
) -> None:
    start(
        servers,
        kind,
        source="""
        def hasty():
            for _ in range(200):
                pid = os.fork()
                if pid == 0:
                    try:
                        assert signal.set_wakeup_fd(-1) == -1
                        time.sleep(HOUR)
                    finally:
                        os._exit(1)
                os.kill(pid, signal.SIGTERM)
                ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if ended != -signal.SIGTERM:
                    return ended
            return 0
        WAYS["hasty"] = hasty
        """,
    )
    client = servers.connect()
    assert client.ask("hasty") == "0"
    assert client.ask("hasty") == "0"


# What it has of the server


@in_every_way
def test_it_has_nothing_open_of_the_server(maker: Maker, way: str) -> None:
    pid = maker.make(way)
    until_it_sleeps(pid)
    found = opened_by(pid)
    assert not found & sockets_at(maker.servers.directory)
    assert not [link for link in found if "memfd:dorrit" in link or link.endswith(".lock")]
    if maker.kind in {"five functions", "plain"}:
        assert not {link for link in found & maker.first if not link.startswith("/dev/")}


@in_every_kind
def test_clients_and_the_next_server_do_not_wait_for_it(servers: Servers, kind: str) -> None:
    run = start(servers, kind)
    first, other, asking = (servers.connect() for _ in range(3))
    made = [int(asking.ask(way)) for way in FORKED]
    asking.send("close the first")
    assert first.close_code() in {1000, 1005, 1006}
    first.socket.sendall(b"\x88\x80\0\0\0\0")
    assert first.ended()
    run.kill()
    assert other.ended()
    assert not servers.is_listening()
    status = servers.run(*dorrit("status", servers.path), start_new_session=True)
    assert status.process.returncode == 1
    assert "one that has ended has left its socket" in status.err + status.out
    start(servers, kind)
    assert int(servers.connect().ask("Popen"))
    assert not [pid for pid in made if proc.is_gone(pid)]


def test_nothing_that_it_sends_goes_to_a_client(servers: Servers) -> None:
    start(
        servers,
        "plain",
        source="""
        def talkative():
            conns[0].send("queued before")
            pid = os.fork()
            if pid == 0:
                try:
                    os.write(2, b"open: %d, %d\\n" % (conns[0].is_open, len(app.connections)))
                    conns[0].send("from the child")
                    app.broadcast(conns, "from the child")
                    conns[0].close(4000)
                    conns[1].abort()
                    try:
                        app.call_soon_threadsafe(print)
                    except RuntimeError as error:
                        os.write(2, str(error).encode())
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            return pid
        WAYS["talkative"] = talkative
        """,
    )
    first, second = servers.connect(), servers.connect()
    pid = second.ask("talkative")
    assert first.text() == "queued before"
    assert int(pid) > 0
    assert int(first.ask("Popen")) > 0
    assert int(second.ask("Popen")) > 0
    assert "open: 0, 0\n" in servers.runs[0].err
    assert "this process was forked off the server's" in servers.runs[0].err


@pytest.mark.parametrize("method", ["fork", "executor"])
@in_every_kind
def test_R28_its_crash_is_its_own(servers: Servers, kind: str, method: str) -> None:
    run = start(
        servers,
        kind,
        source="""
        def crashing_fork():
            made = multiprocessing.get_context("fork").Process(target=ctypes.string_at, args=(0,))
            made.start()
            made.join()
            return made.exitcode
        def crashing_executor():
            context = multiprocessing.get_context("fork")
            with concurrent.futures.ProcessPoolExecutor(1, context) as made:
                try:
                    made.submit(ctypes.string_at, 0).result()
                except concurrent.futures.process.BrokenProcessPool:
                    return -signal.SIGSEGV
        WAYS["crashing fork"] = crashing_fork
        WAYS["crashing executor"] = crashing_executor
        """,
    )
    client = servers.connect()
    assert client.ask(f"crashing {method}") == str(-signal.SIGSEGV)
    assert run.err.count("listening on") == 1
    assert servers.stop(run) == 0
    assert "Fatal Python error" not in run.err


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("command", ["serve", "program"])
@pytest.mark.parametrize("end_of_file", ["dorrit.main()", "app.run()"])
def test_one_that_imports_the_servers_file_is_no_second_server(
    servers: Servers, end_of_file: str, command: str, method: str
) -> None:
    file = servers.directory / "doubles.py"
    file.write_text(f"""
import multiprocessing
import dorrit

def double(number):
    return 2 * number

def said(conn, message):
    context = multiprocessing.get_context({method!r})
    with context.Pool(1) as pool:
        conn.send(str(pool.apply(double, (21,))))

app = dorrit.Server("doubles")
app.on_message(said)

def ws_init_func(): pass
def ws_open_callback(conn, cookie): return 0
def ws_read_callback(conn, binary, data): said(conn, data)
def ws_close_callback(conn): pass
def ws_exit_func(): pass

{end_of_file}
""")
    words = servers.command(f"{file}:app" if end_of_file == "app.run()" else file)
    if command == "program":
        words = [words[0], file, *words[5:]]
    run = servers.start(*words, start_new_session=True).until_listening()
    assert servers.connect().ask("double") == "42"
    assert servers.stop(run) == 0
    assert len(run.log) == run.err.count(" INFO ")


# Nobody waits for it


@in_every_kind
def test_a_handler_gets_its_timeout_of_a_pool(servers: Servers, kind: str) -> None:
    run = start(
        servers,
        kind,
        source="""
        def impatient():
            try:
                with multiprocessing.Pool(1) as pool:
                    pool.apply_async(time.sleep, (HOUR,)).get(timeout=0.1)
            except multiprocessing.TimeoutError:
                return 1
        WAYS["impatient"] = impatient
        """,
    )
    client = servers.connect()
    for _ in range(5):
        assert client.ask("impatient") == "1"
    assert servers.stop(run) == 0


@in_every_kind
def test_R27_the_end_of_the_server_does_not_wait_for_it(servers: Servers, kind: str) -> None:
    run = start(servers, kind, "--stop-grace=0.2")
    client = servers.connect()
    ways = [way for of, way in EVERY if of == kind]
    made = {way: int(client.ask(way)) for way in ways}
    assert servers.stop(run) == 0
    assert not servers.path.exists()
    # Those of multiprocessing, for which the interpreter would wait, end with it.
    for way in ("Process", "daemonic Process", "Pool", "spawned Process", "forkserver"):
        until(lambda pid=made[way]: proc.is_gone(pid), f"the end of {way}")  # type: ignore[misc]
    assert not proc.is_gone(made["os.fork"])


# In a daemon


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemon has a janitor")
def test_R22_so_it_is_in_a_daemon(directory: Path, plain_program: PlainProgram) -> None:
    with reaper():
        daemons = Daemons(directory)
        made: list[int] = []
        daemon = daemons(FUNCTIONS)
        try:
            log = daemon.path.with_suffix(".log")  # which it writes to itself
            daemon.start("--log", log)
            first = opened_by(daemon.pid) - {os.fspath(log.resolve())}
            client = daemon.connect()
            for way in PLAIN:
                if way in {"spawned Process", "forkserver"}:
                    continue  # a daemon's user may have no right to run Python
                made.append(int(client.ask(way)))
                until_it_sleeps(made[-1])
                assert signals_of(made[-1]) == signals_of(plain_program.make(way)), way
                shared = opened_by(made[-1]) & first
                assert not {link for link in shared if not link.startswith("/dev/")}, way
            daemon.kill(signal.SIGKILL)
            assert client.ended()
            client.socket.close()
            # The janitor does its work, and another one may start, while they live on.
            until(lambda: daemon.files <= {".command", ".log"}, "the end of its files")
            daemon.wait()
            daemon.start()
            assert daemon.stop() == 0
            assert not [pid for pid in made if proc.is_gone(pid)]
        finally:
            daemons.close()


# In a program that has a server as its guest

GUEST = """
import asyncio, os, sys
import dorrit

async def main():
    async with dorrit.listen(sys.argv[1], on_message=lambda conn, said: conn.send(said)) as guest:
        print("ready", flush=True)
        while not guest.connections:
            await asyncio.sleep(0.01)
        child = os.fork()
        if child == 0:
            sys.exit(3 if not guest.connections else 4)
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            await asyncio.sleep(0.01)
        print("child", os.waitstatus_to_exitcode(ended[1]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_one_that_leaves_the_block_of_a_guest_leaves_the_guest_alone(servers: Servers) -> None:
    run = servers.start(sys.executable, "-c", GUEST, servers.path, start_new_session=True)
    run.until_said("ready")
    client = servers.connect()
    run.until_said("child 3")
    assert client.ask("still there?") == "still there?"
    assert servers.connect().ask("and for others?") == "and for others?"
    assert servers.path.exists()
