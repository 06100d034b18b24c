"""ws_init_func and ws_exit_func (R7, R8): how a server starts and ends."""

import os
import pty
import signal
from pathlib import Path

import pytest

from tests.support.servers import Servers, dorrit

STEPS = """
    import atexit

    def ws_init_func():
        say("init")
        atexit.register(say, "atexit")

    def ws_close_callback(conn):
        say("close")

    def ws_exit_func():
        say("exit")
"""


def test_R7_init_runs_once_and_before_anything_is_created(servers: Servers) -> None:
    run = servers.serve(f"""
        def ws_init_func():
            say("init", os.path.lexists({str(servers.path)!r}))
    """)
    servers.connect().close()
    assert servers.stop(run) == 0
    assert run.said == ["init False"]


def test_R7_init_has_the_standard_streams_on_the_terminal(servers: Servers) -> None:
    ours, terminal = pty.openpty()
    try:
        run = servers.start(
            *dorrit("serve", servers.write("""
                def ws_init_func():
                    with open("told", "w") as file:
                        file.write(repr([os.isatty(0), os.isatty(1), os.isatty(2)]))
                    raise SystemExit(0)
            """), "-x", "-l", servers.path),
            stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        assert run.wait() == 0
    finally:
        os.close(ours)
        os.close(terminal)
    assert (servers.directory / "told").read_text() == "[True, True, True]"


def test_R7_an_init_that_raises_ends_the_start_with_its_error(servers: Servers) -> None:
    file = servers.write("""
        def ws_init_func():
            raise OSError("no database")

        def ws_exit_func():
            say("exit")
    """)
    before = set(servers.directory.iterdir())
    run = servers.run(*dorrit("serve", file, "-x", "-l", servers.path))
    assert run.wait() == 1
    lines = run.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "server.py" in run.err
    assert lines[-1] == "dorrit: ws_init_func raised OSError: no database"
    assert run.said == []
    created = {path.name for path in set(servers.directory.iterdir()) - before}
    assert created <= {"out0", "err0", "__pycache__"}


def test_R7_an_init_that_raises_leaves_a_stale_socket_as_it_is(servers: Servers) -> None:
    old = servers.serve("")
    old.kill()
    inode = servers.path.stat().st_ino
    file = servers.write("""
        def ws_init_func():
            raise ValueError
    """)
    assert servers.run(*dorrit("serve", file, "-x", "-l", servers.path)).wait() == 1
    assert servers.path.stat().st_ino == inode


def test_R7_an_init_that_exits_decides_the_exit_status(servers: Servers) -> None:
    file = servers.write("""
        def ws_init_func():
            sys.exit("the licence has expired")
    """)
    run = servers.run(*dorrit("serve", file, "-x", "-l", servers.path))
    assert (run.wait(), run.err) == (1, "the licence has expired\n")
    assert not servers.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R8_exit_runs_once_after_the_close_callbacks_when_a_signal_stops_the_server(
    servers: Servers, number: int
) -> None:
    run = servers.serve(STEPS)
    clients = [servers.connect(), servers.connect()]
    run.process.send_signal(number)
    assert [client.close_code() for client in clients] == [1001, 1001]
    for client in clients:
        client.socket.close()
    assert run.wait() == 0
    assert run.said == ["init", "close", "close", "exit", "atexit"]


@pytest.mark.parametrize(
    ("callback", "signature"),
    [
        ("ws_open_callback", "conn, cookie"),
        ("ws_read_callback", "conn, binary, data"),
        ("ws_close_callback", "conn"),
        ("tick", ""),
    ],
)
def test_R8_exit_runs_once_when_a_callback_exits_the_program(
    servers: Servers, callback: str, signature: str
) -> None:
    run = servers.serve(
        STEPS
        + f"""
    def {callback}({signature}):
        say({callback!r})
        sys.exit(7)

    def ws_init_func():
        say("init")
        atexit.register(say, "atexit")
        if {callback!r} == "tick":
            dorrit.ws_set_periodic(tick, 0.01)
"""
    )
    if callback != "tick":
        client = servers.connect()
        if client.status == 101:
            client.send("go")
        client.socket.close()
    assert run.wait() == 7
    assert run.said[0] == "init"
    assert run.said.count(callback) == 1
    assert run.said[-2:] == ["exit", "atexit"]
    assert run.said.count("exit") == 1
    assert not servers.path.exists()


def test_R11_every_close_callback_runs_though_each_of_them_exits_the_program(
    servers: Servers,
) -> None:
    run = servers.serve(
        STEPS
        + """
    def ws_close_callback(conn):
        say("close")
        sys.exit(7)
"""
    )
    clients = [servers.connect() for _ in range(3)]
    clients[0].socket.close()
    assert [client.close_code() for client in clients[1:]] == [1001, 1001]
    for client in clients:
        client.socket.close()
    assert run.wait() == 7
    assert run.said == ["init", "close", "close", "close", "exit", "atexit"]


@pytest.mark.parametrize("obstacle", ["directory", "missing"])
def test_R8_exit_runs_once_when_the_socket_cannot_be_made_after_init(
    servers: Servers, obstacle: str
) -> None:
    path = servers.directory / "obstacle"
    if obstacle == "directory":
        path.mkdir()
    else:
        path /= "socket"
    run = servers.run(*dorrit("serve", servers.write(STEPS), "-x", "-l", path))
    assert run.wait() == 1
    assert run.said == ["init", "exit", "atexit"]


def test_R8_an_exit_that_raises_is_logged_and_the_status_is_1(servers: Servers) -> None:
    run = servers.serve("""
        def ws_exit_func():
            raise ValueError("not saved")
    """)
    assert servers.stop(run) == 1
    assert "Traceback" in run.err
    assert "ValueError: not saved" in run.err
    assert not servers.path.exists()


def test_R27_the_socket_is_there_until_exit_has_run(servers: Servers) -> None:
    run = servers.serve(f"""
        def ws_exit_func():
            say(os.path.exists({str(servers.path)!r}))
    """)
    assert servers.stop(run) == 0
    assert run.said == ["True"]
    assert not servers.path.exists()


def test_R27_a_signal_during_exit_does_not_leave_the_socket_behind(servers: Servers) -> None:
    run = servers.serve("""
        def ws_exit_func():
            say("exit")
            while not os.path.exists("go"):
                time.sleep(0.01)
    """)
    run.process.terminate()
    run.until_said("exit")
    run.process.terminate()
    Path(servers.directory, "go").touch()
    assert run.wait() == 0
    assert not servers.path.exists()


def test_a_fault_of_dorrits_own_is_in_the_log(servers: Servers) -> None:
    file = servers.write("""
        from dorrit.drive.server_process import ServerProcess
        def ws_init_func():
            ServerProcess.prepare_limits = lambda *_: 1 // 0
    """)
    run = servers.start(*dorrit("serve", file, "-x", "-l", servers.path))
    assert run.wait() == 1
    assert "the server ends, for a reason that it does not know" in run.err
    assert "ZeroDivisionError" in run.err
    assert not servers.path.exists()
