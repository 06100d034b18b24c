"""Each example starts as its first lines say, and does what they promise (R36)."""

import ast
import os
import re
import runpy
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dorrit.testing import serve
from tests.support.frames import BINARY, PING, REQUEST, TEXT, Received
from tests.support.servers import Client, Run, Servers, dorrit, until

EXAMPLES = Path(__file__).parents[2] / "examples"


def echo(servers: Servers, run: Run) -> None:
    """Echo: sends every message back to the client it came from."""
    one, other = servers.connect(), servers.connect()
    one.send("grüße")
    other.send(b"\x00\xff" * 30000)
    assert one.receive() == Received(TEXT, "grüße".encode())
    assert other.receive() == Received(BINARY, b"\x00\xff" * 30000)
    assert one.ask("again") == "again"
    one.close()
    other.close()


def clock(servers: Servers, run: Run) -> None:
    """Clock: tells all the time, once a second, and each of them how long it has been here."""
    clients = [servers.connect(), servers.connect()]
    for client in clients:
        assert client.text() == "Hello. Send anything to hear how long you have been here."

    def is_time(text: str) -> bool:
        return re.fullmatch(r"\d\d:\d\d:\d\d", text) is not None

    begin = 0.0
    for client in clients:
        first = client.text()
        begin = begin or time.monotonic()  # the first of them has been here for longer
        while (text := client.text()) == first:
            pass  # a server that is late may tell it twice in a second
        assert is_time(first)
        assert is_time(text)
    passed = time.monotonic() - begin
    clients[0].send("how long?")
    while is_time(answer := clients[0].text()):
        pass
    match = re.fullmatch(r"You have been here for (\d+\.\d) seconds\.", answer)
    assert match is not None
    assert float(match[1]) >= passed - 0.05  # it is rounded


def counter(servers: Servers, run: Run) -> None:
    """Counter: counts what each client says."""
    one, other = servers.connect(), servers.connect()
    assert [one.ask("a"), one.ask("b"), other.ask("c")] == ["1: a", "2: b", "1: c"]
    one.close()
    other.close()


def join(servers: Servers, name: str) -> Client:
    """A client of a chat, by its name."""
    client = servers.connect(REQUEST.replace(b"/chat", b"/chat?name=" + name.encode()))
    assert client.status == 101, client.head
    return client


def chat(servers: Servers, run: Run) -> None:
    """Chat: everybody in the room hears what one of them says."""
    ann = join(servers, "Ann")
    assert ann.text() == "Ann has joined"
    bob = join(servers, "Bob")
    assert [ann.text(), bob.text()] == ["Bob has joined"] * 2
    bob.send("grüße")
    assert [ann.text(), bob.text()] == ["Bob: grüße"] * 2
    bob.close()
    assert ann.text() == "Bob has left"
    assert servers.connect().status == 400


def live_chat(servers: Servers, run: Run) -> None:
    """Chat whose code is changed while people talk: they stay, and everybody keeps the name."""
    ann, bob = join(servers, "Ann"), join(servers, "Bob")
    assert [ann.text(), ann.text(), bob.text()] == ["Ann has joined", *["Bob has joined"] * 2]
    assert servers.run(*dorrit("reload", servers.path)).process.returncode == 0
    bob.send("grüße")
    assert [ann.text(), bob.text()] == ["Bob: grüße"] * 2
    bob.close()
    assert ann.text() == "Bob has left"


def history(servers: Servers, run: Run) -> None:
    """History: a chat that tells who joins what was said before, from a database."""
    ann = join(servers, "Ann")
    for number in range(25):
        assert ann.ask(str(number)) == f"Ann: {number}"
    # Nobody misses anything, or hears it twice, however joining and speaking meet.
    joined = []
    for number in range(25, 50):
        ann.send(str(number))
        joined.append(join(servers, "Bob"))
    last = [f"Ann: {number}" for number in range(50)]
    for bob in joined:
        told = [bob.text()]
        while told[-1] != last[-1]:
            told.append(bob.text())
        assert len(told) >= 20
        assert told == last[-len(told) :]
    assert servers.connect().status == 400


CHECKS: dict[str, Callable[[Servers, Run], None]] = {
    "chat.py": chat,
    "clock.py": clock,
    "counter.py": counter,
    "echo.py": echo,
    "history.py": history,
    "live_chat.py": live_chat,
    "object_echo.py": echo,
}
GUESTS = ["guest_asyncio.py", "guest_trio.py"]
"""Programs that have an event loop of their own."""


def start(servers: Servers, name: str) -> Run:
    """Start an example by the command that its first lines tell people to type."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
    assert text is not None
    commands = re.findall(r"Run it with: (dorrit serve .*)", text)
    assert len(commands) == 1
    _, subcommand, server, *options, path = shlex.split(commands[0])
    place, colon, app = server.partition(":")
    assert [place, options, path] == [name, ["-x", "-l"], f"/tmp/{name.removesuffix('.py')}.socket"]
    # But a socket of our own, in a directory of our own, as who we are.
    who = ["-u", os.geteuid(), "-g", os.getegid()]
    server = f"{EXAMPLES / place}{colon}{app}"
    run = servers.start(*dorrit(subcommand, server, *who, *options, servers.path))
    return run.until_listening()


def test_there_is_a_test_for_every_example() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*CHECKS, *GUESTS}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_R36_an_example_does_what_it_says(servers: Servers, name: str) -> None:
    run = start(servers, name)
    CHECKS[name](servers, run)
    assert servers.stop(run) == 0
    assert not servers.path.exists()
    assert "Traceback" not in run.err


def test_the_counts_survive_a_reload() -> None:
    app = runpy.run_path(str(EXAMPLES / "counter.py"))["app"]
    with serve(app) as server, server.connect() as one, server.connect() as other:
        for text, count in (("a", "1: a"), ("b", "2: b")):
            one.send(text)
            assert one.receive() == count
        server.reload()
        for client, count in ((one, "3: c"), (other, "1: c")):
            client.send("c")
            assert client.receive() == count


def ends_with_main(name: str) -> bool:
    return re.search(r"(dorrit\.main|app\.run)\(\)\n\Z", (EXAMPLES / name).read_text()) is not None


@pytest.mark.parametrize("name", [name for name in sorted(CHECKS) if ends_with_main(name)])
def test_an_example_that_ends_with_main_runs_by_itself(servers: Servers, name: str) -> None:
    who = ["-u", os.geteuid(), "-g", os.getegid()]
    run = servers.start(sys.executable, EXAMPLES / name, "-x", "-l", servers.path, *who)
    CHECKS[name](servers, run.until_listening())
    assert servers.stop(run) == 0


def test_the_history_outlives_the_server(servers: Servers) -> None:
    run = start(servers, "history.py")
    assert join(servers, "Ann").ask("still there?") == "Ann: still there?"
    assert servers.stop(run) == 0
    start(servers, "history.py")
    assert join(servers, "Bob").text() == "Ann: still there?"


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_serves_within_the_loop_of_another_program(servers: Servers, name: str) -> None:
    # Its first lines say what to type, as those of the others do.
    assert f"python {name} /tmp/guest.socket 9000" in (EXAMPLES / name).read_text()
    run = servers.start(sys.executable, EXAMPLES / name, servers.path, 0)
    until(lambda: run.out.endswith("\n") or run.process.poll() is not None, "its start")
    assert run.process.poll() is None, run.err
    port = int(run.out.split()[-1])

    clients = [servers.connect(), servers.connect()]
    assert clients[0].ask("may I?") == "only those who come by TCP may speak here"
    with socket.create_connection(("127.0.0.1", port)) as lines:
        for line in ("hello", "grüße"):
            lines.sendall(f"{line}\n".encode())
            assert [client.text() for client in clients] == [line, line]

    assert servers.stop(run, signal.SIGINT) == 0
    assert run.err == ""
    assert not servers.path.exists()


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_has_its_turn_in_time_though_nothing_comes(servers: Servers, name: str) -> None:
    text = (EXAMPLES / name).read_text()
    pinging = text.replace("on_message=said)", "on_message=said, ping_interval=0.25)")
    assert pinging != text
    file = servers.directory / name
    file.write_text(pinging)
    run = servers.start(sys.executable, file, servers.path, 0)
    until(lambda: run.out.endswith("\n") or run.process.poll() is not None, "its start")
    assert servers.connect().receive().opcode == PING
