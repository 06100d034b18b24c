"""A server ends though one of its functions does not return: it is named, and the files go."""

import _thread
import signal
import socket
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dorrit.process.exit.overdue import Overdue
from tests.support import proc
from tests.support.daemons import Daemons, reaper
from tests.support.frames import REQUEST, TEXT, close_frame, frame
from tests.support.servers import TIMEOUT, Run, Servers, until

STUCK = """
from dorrit import Server

def stuck(*_):
    say("stuck")
    {how}

app = Server("stuck")
"""

HOW = {"busy": "while True: pass", "asleep": "time.sleep(3600)"}

WHERE = {
    "message": ("a handler", "app.on_message(stuck)"),
    "open": ("a handler", "app.on_open(stuck)"),
    "close": ("a handler", "app.on_close(stuck)"),
    "every": ("a handler", "app.every(0.01)(stuck)"),
    "start": ("the start handler", "app.on_start(stuck)"),
    "stop": ("the stop handler", "app.on_stop(stuck)"),
    "async": ("a handler", "@app.on_message\nasync def said(conn, message): stuck()"),
    "start, which is async": (
        "the start handler",
        """
        @app.on_start
        async def start():
            import asyncio
            say("stuck")
            while True:
                try:
                    await asyncio.sleep(0.01)
                except BaseException:
                    pass
        stuck = start
    """,
    ),
}

LEFT = "does not end, and the process does not wait for it"


def stuck(servers: Servers, where: str, how: str, *options: object) -> Run:
    """A server one function of which does not return."""
    source = STUCK.format(how=HOW[how]) + textwrap.dedent(WHERE[where][1])
    file = servers.write(source)
    run = servers.start(*servers.command(f"{file}:app", *options))
    if "start" not in where:
        run.until_listening()
    if where in {"message", "open", "close", "async"}:
        # It is not answered: not by `Client`, which waits for that.
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(servers.path))
        client.sendall(REQUEST + (close_frame(1000) if where == "close" else frame(TEXT, b"x")))
        servers.others.append(client)
    if where == "stop":
        run.process.send_signal(signal.SIGTERM)
    run.until_said("stuck")
    return run


def assert_named(servers: Servers, run: Run, where: str) -> None:
    assert not servers.path.exists()
    assert list(servers.directory.glob("socket*")) == []
    assert run.err.count(f"{WHERE[where][0]} {LEFT}") == 1
    assert 'server.py", line' in run.err or "server.py:" in run.err, "the log says where"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("where", WHERE)
def test_R27_after_the_grace_period_the_process_ends(
    servers: Servers, where: str, how: str
) -> None:
    run = stuck(servers, where, how, "--stop-grace=0.1", "--stop-timeout=0")
    if where != "stop":
        run.process.send_signal(signal.SIGTERM)
    assert run.wait() == 1
    assert_named(servers, run, where)


@pytest.mark.parametrize("where", WHERE)
def test_R27_a_second_signal_does_not_wait_for_it(servers: Servers, where: str) -> None:
    run = stuck(servers, where, "busy", "--stop-grace=3600")
    run.process.send_signal(signal.SIGTERM)
    if where != "stop":
        run.process.send_signal(signal.SIGINT)
    assert run.wait() == 1
    assert_named(servers, run, where)


def test_R27_ws_exit_func_has_the_grace_period(servers: Servers) -> None:
    run = servers.serve("def ws_exit_func(): time.sleep(3600)", "--stop-grace=0.1")
    assert servers.stop(run) == 1
    assert f"ws_exit_func {LEFT}" in run.err
    assert not servers.path.exists()


def test_R27_nor_does_a_daemon_wait_and_its_files_are_gone(directory: Path) -> None:
    with reaper():
        daemons = Daemons(directory)
        daemon = daemons("def ws_read_callback(*_): time.sleep(3600)")
        try:
            daemon.start("--stop-grace=0.1")
            client = daemon.connect()
            client.send("x")
            until(lambda: proc.waits_in(daemon.pid) == "clock_nanosleep", "the handler")
            daemon.kill(signal.SIGTERM)
            assert daemon.wait() == 1
            assert daemon.files == set()
            client.socket.close()
        finally:
            daemons.close()


def test_a_handler_that_returns_in_time_is_waited_for_and_the_stop_is_in_order(
    servers: Servers,
) -> None:
    run = servers.serve("""
        def ws_read_callback(conn, binary, data):
            say("reads")
            while not os.path.exists("go"):
                time.sleep(0.01)
            ws_write_conn(conn, binary, data)

        def ws_exit_func():
            say("exit")
    """)
    client = servers.connect()
    client.send("x")
    run.until_said("reads")
    run.process.send_signal(signal.SIGTERM)
    (servers.directory / "go").touch()
    assert client.text() == "x"
    assert client.close_code() == 1001
    client.socket.close()
    assert run.wait() == 0
    assert run.said == ["reads", "exit"]


def test_the_thread_that_looks_at_the_clock_has_ended_before_the_interpreter_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = []
    start = _thread.start_new_thread

    def start_late(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
        def run() -> None:
            time.sleep(0.1)
            begun.append(function)
            function(*arguments)

        return start(run, ())

    monkeypatch.setattr(_thread, "start_new_thread", start_late)
    overdue = Overdue(lambda: None)
    overdue.within("a step", TIMEOUT)
    overdue.over()
    assert len(begun) == 1
    monkeypatch.setattr(_thread, "start_new_thread", None)
    overdue.within("a signal comes late", TIMEOUT)
