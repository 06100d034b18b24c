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
    import os, time
    from dorrit import Server
    app = Server()

    @app.on_message
    def said(conn, message):
        if message == "hold":
            while not os.path.exists("told"):
                time.sleep(0.01)    # everybody waits
        conn.send(message)
"""

LATE = """
    import asyncio, os, time
    from dorrit import Server
    app = Server()

    @app.on_message
    async def said(conn, message):
        await asyncio.sleep(0.01)
        if message == "hold":
            while not os.path.exists("told"):
                time.sleep(0.01)    # everybody waits
        conn.send(message)
"""


TOLD = "nobody has been served for"
HELD = "|     time.sleep(0.01)    # everybody waits"


def release(servers: Servers) -> None:
    """Let the handler return."""
    (servers.directory / "told").touch()


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
    client.send("hold")
    # Where much else is to be done, somebody else may have been told a moment before.
    until(lambda: HELD in run.err.splitlines(), "the record")
    release(servers)
    assert client.text() == "hold"
    assert servers.stop(run) == 0
    assert f"{TOLD} 0.2 seconds" in run.err
    assert any(f'"{servers.directory}/app.py", line ' in line for line in run.err.splitlines())
    assert "dorrit/api" not in run.err  # what leads there is ours, and nobody's interest
    assert "asyncio/" not in run.err


def test_O6_what_begins_while_another_one_has_just_been_told_is_told_later(
    servers: Servers,
) -> None:
    soon = "import dorrit.drive.slow\ndorrit.drive.slow.PERIOD = 2.0\n"
    run = start(servers, soon + textwrap.dedent(PLAIN), "--slow-handler", "0.2")
    client = servers.connect()
    client.send("hold")
    until(lambda: HELD in run.err.splitlines(), "the record")
    release(servers)
    assert client.text() == "hold"
    (servers.directory / "told").unlink()
    client.send("hold")
    until(lambda: run.err.splitlines().count(HELD) == 2, "the record of the second one")
    release(servers)
    assert client.text() == "hold"
    assert servers.stop(run) == 0


def test_O6_what_returns_in_time_is_not_told_and_0_is_never(servers: Servers) -> None:
    for options in (["--slow-handler", "60"], ["--slow-handler", "0"]):
        run = start(servers, PLAIN, *options)
        client = servers.connect()
        client.send("hold")
        time.sleep(1.5)  # a while in which by default it would be told
        release(servers)
        assert client.text() == "hold"
        client.socket.close()
        assert servers.stop(run) == 0
        assert TOLD not in run.err
        (servers.directory / "told").unlink()


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
    client.send("hold")
    until(lambda: HELD in run.err.splitlines(), "the record")
    release(servers)
    assert client.text() == "hold"
    assert servers.stop(run) == 0


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
    assert TOLD not in run.err
