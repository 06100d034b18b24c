"""A handler that holds up everybody is told, with its stack (O6)."""

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from tests.support import proc
from tests.support.servers import Run, Servers, until

PLAIN = """
    import time
    from dorrit import Server
    app = Server()

    @app.on_message
    def said(conn, message):
        if message == "hold":
            time.sleep(1.5)     # everybody waits
        conn.send(message)
"""

LATE = """
    import asyncio, time
    from dorrit import Server
    app = Server()

    @app.on_message
    async def said(conn, message):
        await asyncio.sleep(0.01)
        if message == "hold":
            time.sleep(1.5)     # everybody waits
        conn.send(message)
"""


def start(servers: Servers, source: str, *options: object) -> Run:
    file = servers.directory / "app.py"
    file.write_text(textwrap.dedent(source))
    return servers.start(*servers.command(f"{file}:app", *options)).until_listening()


@pytest.mark.parametrize("source", [PLAIN, LATE], ids=["plain", "after an await"])
def test_O6_a_handler_that_does_not_return_is_told_with_its_stack(
    servers: Servers, source: str
) -> None:
    run = start(servers, source, "--slow-handler", "0.2")
    client = servers.connect()
    assert client.ask("one") == "one"
    assert client.ask("hold") == "hold"
    assert servers.stop(run) == 0
    assert run.err.count("nobody has been served for 0.2 seconds") == 1
    lines = run.err.splitlines()
    assert "|     time.sleep(1.5)     # everybody waits" in lines
    assert any(f'"{servers.directory}/app.py", line ' in line for line in lines)
    assert "dorrit/api" not in run.err  # what leads there is ours, and nobody's interest
    assert "asyncio/" not in run.err


def test_O6_what_returns_in_time_is_not_told_and_0_is_never(servers: Servers) -> None:
    for options in (["--slow-handler", "60"], ["--slow-handler", "0"]):
        run = start(servers, PLAIN, *options)
        client = servers.connect()
        assert client.ask("hold") == "hold"
        client.socket.close()
        assert servers.stop(run) == 0
        assert "nobody has been served" not in run.err


def switches(pid: int) -> int:
    """How often the threads of a process have slept."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def test_O6_who_looks_after_handlers_is_there_with_the_first_client_and_sleeps_when_they_do(
    servers: Servers,
) -> None:
    run = start(servers, PLAIN, "--slow-handler", "0.1")
    assert proc.status(run.pid)["Threads"] == ["1"]
    client = servers.connect()
    assert client.ask("hello") == "hello"
    assert proc.status(run.pid)["Threads"] == ["2"]

    def sleeps() -> bool:
        before = switches(run.pid)
        time.sleep(0.5)  # a while in which it would have looked many times
        return switches(run.pid) == before

    until(sleeps, "a sleep")
    assert client.ask("hello") == "hello"
    assert client.ask("hold") == "hold"
    assert servers.stop(run) == 0
    assert "nobody has been served for 0.1 seconds" in run.err


def test_O6_a_process_that_was_stopped_is_no_slow_handler(servers: Servers) -> None:
    run = start(servers, PLAIN, "--slow-handler", "0.4")
    client = servers.connect()
    assert client.ask("hello") == "hello"
    os.kill(run.pid, signal.SIGSTOP)
    until(lambda: proc.status(run.pid)["State"][0] == "T", "the stop")
    client.send("hello")
    time.sleep(1)  # longer than a handler may take
    os.kill(run.pid, signal.SIGCONT)
    assert client.text() == "hello"
    assert servers.stop(run) == 0
    assert "nobody has been served" not in run.err
