"""One image of a server makes way for the next, with all its clients (L1)."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support import proc
from tests.support.reloading import Reloaded
from tests.support.servers import Client, Servers, until


@pytest.fixture
def reloaded(servers: Servers) -> Reloaded:
    return Reloaded(servers)


def test_L1_the_new_code_serves_in_the_same_process_with_all_clients(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start()
    clients = [servers.connect() for _ in range(20)]
    assert [client.ask("a") for client in clients] == ["1 a"] * 20
    reloaded.write(2)
    done = reloaded.reload()
    assert (done.process.returncode, done.err) == (0, "")
    assert done.out.startswith(f"{servers.path}: reloaded with 20 connections in ")
    assert [client.ask("b") for client in clients] == ["2 b"] * 20
    assert servers.connect().ask("c") == "2 c"
    pid = run.pid
    assert run.said == [f"start 1 {pid}", "stop 1", "atexit 1", f"start 2 {pid}"]
    assert servers.stop(run) == 0
    assert "connections were lost" not in run.err


def test_L1_no_message_is_lost_doubled_or_out_of_order(
    servers: Servers, reloaded: Reloaded
) -> None:
    reloaded.start()
    client = servers.connect()
    over = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not over.is_set():
            client.send(str(sent))
            sent += 1
            over.wait(0.0005)

    sender = threading.Thread(target=send)
    sender.start()
    received: list[str] = []
    try:
        for version in (2, 3):
            reloaded.write(version)
            reloaded.ask()
            while not received or not received[-1].startswith(f"{version} "):
                received.append(client.text())
    finally:
        over.set()
        sender.join()
    received += [client.text() for _ in range(sent - len(received))]
    assert [int(text.split()[1]) for text in received] == list(range(sent))
    assert [text.split()[0] for text in received] == sorted(text.split()[0] for text in received)
    assert client.ask("last") == "3 last"


def test_L1_nobody_is_refused(servers: Servers, reloaded: Reloaded) -> None:
    reloaded.start()
    versions: list[str] = []
    over = threading.Event()

    def connect() -> None:
        while not over.is_set():
            client = Client(servers.path)
            with client.socket:
                versions.append(client.ask("here").split()[0])

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        for version in ("2", "3"):
            reloaded.write(int(version))
            assert reloaded.reload().process.returncode == 0
            until(lambda version=version: versions[-1] == version)
    finally:
        over.set()
        thread.join()
    assert sorted(set(versions)) == ["1", "2", "3"]
    assert versions == sorted(versions)


def test_L1_what_the_old_code_sends_at_its_end_arrives(
    servers: Servers, reloaded: Reloaded
) -> None:
    reloaded.start(
        """
        conns = []

        @app.on_open
        def opened(conn):
            conns.append(conn)

        def stop():
            conns[0].send("stop")
            for _ in range(20):
                conns[0].send("x" * 50_000)

        @atexit.register
        def left():
            conns[0].send("atexit")
        """
    )
    client = servers.connect()
    reloaded.write(2)
    reloaded.ask()
    assert client.text() == "stop"
    for _ in range(20):
        assert client.text() == "x" * 50_000
    assert client.text() == "atexit"
    assert client.ask("a") == "2 a"


def test_L1_five_functions_are_reloaded_as_well(servers: Servers) -> None:
    source = """
        def ws_init_func():
            say("init", {0})
        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, False, b"{0} " + data)
        def ws_close_callback(conn):
            say("close", {0})
        def ws_exit_func():
            say("exit", {0})
    """
    run = servers.serve(source.format(1))
    client = servers.connect()
    assert client.ask("a") == "1 a"
    servers.write(source.format(2))
    run.process.send_signal(signal.SIGUSR2)
    run.until_logged(" reloaded: ")
    assert client.ask("b") == "2 b"
    client.close()
    run.until_said("close 2")
    assert servers.stop(run) == 0
    assert run.said == ["init 1", "exit 1", "init 2", "close 2", "exit 2"]


def test_L1_async_handlers_are_reloaded_as_well(servers: Servers, reloaded: Reloaded) -> None:
    source = """
        import asyncio

        async def said(conn, text):
            await asyncio.sleep(0)
            conn.send(f"{VERSION} {text}")
    """
    reloaded.start(source)
    client = servers.connect()
    assert client.ask("a") == "1 a"
    for version in (2, 3):
        reloaded.write(version, source)
        assert reloaded.reload().process.returncode == 0
        assert client.ask("b") == f"{version} b"


def test_L1_what_was_printed_or_written_into_files_is_there(
    servers: Servers, reloaded: Reloaded
) -> None:
    reloaded.start(
        """
        def stop():
            global file  # which is not closed before the interpreter ends
            file = Path(__file__).with_name("written").open("w")
            file.write("written")
            print("printed")
        """
    )
    reloaded.write(2)
    assert reloaded.reload().process.returncode == 0
    assert (servers.directory / "written").read_text() == "written"
    assert "printed" in reloaded.run.said


def test_L1_no_descriptor_is_left_open_for_good(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    clients = [servers.connect() for _ in range(3)]
    reloaded.ask()
    reloaded.until_reloaded()
    assert clients[0].ask("a")
    before = len(list(Path(f"/proc/{run.pid}/fd").iterdir()))
    for times in (2, 3):
        reloaded.ask()
        reloaded.until_reloaded(times)
    assert clients[2].ask("a")
    assert len(list(Path(f"/proc/{run.pid}/fd").iterdir())) == before


def test_L1_a_server_without_restarts_is_reloaded(servers: Servers, reloaded: Reloaded) -> None:
    reloaded.start("", "--no-restart")
    client = servers.connect()
    reloaded.write(2)
    assert reloaded.reload().process.returncode == 0
    assert client.ask("a") == "2 a"


def test_L1_a_crash_after_a_reload_restarts_the_server(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start()
    reloaded.write(2, "from ctypes import string_at\nsaid = lambda *_: string_at(0)\n")
    assert reloaded.reload().process.returncode == 0
    client = servers.connect()
    client.send("crash")
    assert client.close_code() == 1011
    run.until_logged("crashed: SIGSEGV")
    until(lambda: run.said.count(f"start 2 {run.pid}") == 2)


# What does not end


HANGING = {
    "the stop handler": "def stop():\n    hang()",
    "a function of atexit": "atexit.register(lambda: hang())",
    "a thread": """
import threading

def start():
    threading.Thread(target=hang, name="lazy").start()
""",
    "an object's __del__": """
class Lazy:
    def __del__(self, hang=hang):
        hang()

lazy = Lazy()
""",
}

HOW = {"asleep": "time.sleep(3600)", "busy": "while True: pass"}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", HANGING)
def test_L1_what_hangs_does_not_keep_the_new_code_from_coming(
    servers: Servers, reloaded: Reloaded, what: str, how: str
) -> None:
    hang = f"def hang(*_, time=time):\n    {HOW[how]}\n"
    run = reloaded.start(hang + HANGING[what], "--stop-grace", 0.1)
    client = servers.connect()
    assert client.ask("a") == "1 a"
    reloaded.write(2)
    assert reloaded.reload().process.returncode == 0
    assert client.ask("b") == "2 b"
    assert "in hang" in run.err or "lazy" in run.err
    assert servers.stop(run) == 0


def test_L1_processes_of_multiprocessing_are_terminated(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start(
        """
        import multiprocessing

        def start():
            fork = multiprocessing.get_context("fork")
            process = fork.Process(target=time.sleep, args=(3600,), name="lazy")
            process.start()
            say("child", process.pid)
        """,
        "--stop-grace", 0.1,
    )  # fmt: skip
    child = int(run.said[-1].split()[1])
    reloaded.write(2)
    assert reloaded.reload().process.returncode == 0
    assert "lazy" in run.err
    until(lambda: proc.is_gone(child))


def test_L1_what_keeps_the_interpreters_lock_ends_the_server_as_a_stop_would(
    servers: Servers, reloaded: Reloaded
) -> None:
    hang = "import ctypes\natexit.register(ctypes.PyDLL(None).sleep, 3600)\n"
    run = reloaded.start(hang, "--stop-grace", 0)
    client = servers.connect()
    reloaded.write(2)
    reloaded.ask()
    assert client.ended()
    assert run.wait() == 1
    assert "the process ends though code of the server goes on:" in run.err


# Signals


KILL = "os.kill(os.getpid(), signal.SIGTERM)"

PLACES = {
    "the stop handler": f"stop = lambda: {KILL}",
    "atexit": f"atexit.register(lambda: {KILL})",
    "an object's __del__": """
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, 15)

last = Last()
""",
}


@pytest.mark.parametrize("place", PLACES)
def test_L1_a_stop_wins_over_a_reload_wherever_it_comes(
    servers: Servers, reloaded: Reloaded, place: str
) -> None:
    run = reloaded.start(PLACES[place])
    client = servers.connect()
    reloaded.write(2)
    reloaded.ask()
    assert client.close_code() == 1001
    assert run.wait() == 0
    assert not [line for line in run.said if line.startswith("start 2")]
    assert not servers.path.exists()


def test_L1_a_reload_during_a_reload_is_one_more(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start("stop = lambda: os.kill(os.getpid(), signal.SIGUSR2)")
    client = servers.connect()
    reloaded.write(2)
    reloaded.ask()
    reloaded.until_reloaded(2)
    assert client.ask("a") == "2 a"
    assert [line.split()[:2] for line in run.said if line.startswith("start")] == [
        ["start", "1"],
        ["start", "2"],
        ["start", "2"],
    ]


# What can't be


def test_L1_without_a_next_image_clients_are_told_to_come_again(
    servers: Servers, reloaded: Reloaded
) -> None:
    python = servers.directory / "python"
    python.symlink_to(interpreter_for_nobody())
    reloaded.write(1, f"stop = Path({os.fspath(python)!r}).unlink")
    command = [python, *servers.command(reloaded.server)[1:]]
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    reloaded.run = run = servers.start(*command, env=environment).until_listening()
    client = servers.connect()
    reloaded.ask()
    assert client.close_code() == 1012
    assert run.wait() == 1
    assert "the server ends instead of being reloaded: " in run.err
    assert not servers.path.exists()


# Whoever looks on


@pytest.fixture
def manager(servers: Servers) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(60)
        made.bind(os.fspath(servers.directory / "notify"))
        yield made


def test_L1_the_service_manager_is_told(
    servers: Servers, reloaded: Reloaded, manager: socket.socket
) -> None:
    reloaded.start(env=os.environ | {"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(4096).startswith(b"READY=1")
    reloaded.write(2)
    reloaded.ask()
    reloading, microseconds = manager.recv(4096).split(b"\n")
    assert reloading == b"RELOADING=1"
    assert int(microseconds.removeprefix(b"MONOTONIC_USEC=")) > 0
    assert manager.recv(4096).startswith(b"READY=1")
    reloaded.write(3, "raise SystemExit")
    assert reloaded.reload().process.returncode == 1
    manager.settimeout(0)
    with pytest.raises(BlockingIOError):  # nothing was to be reloaded
        manager.recv(4096)
