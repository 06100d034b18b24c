"""Each example starts as its first lines say, and does what they promise (R36)."""

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.frames import BINARY, TEXT, Received
from tests.support.servers import Run, Servers, dorrit

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

    for client in clients:
        times = client.text(), client.text()
        assert all(is_time(text) for text in times)
        assert times[0] != times[1]
    clients[0].send("how long?")
    answers = [clients[0].text(), clients[0].text()]  # one of them may be the time
    told = [text for text in answers if not is_time(text)]
    assert len(told) == 1
    match = re.fullmatch(r"You have been here for (\d+\.\d) seconds\.", told[0])
    assert match is not None
    assert float(match[1]) >= 1


CHECKS: dict[str, Callable[[Servers, Run], None]] = {"echo.py": echo, "clock.py": clock}


def test_there_is_a_test_for_every_example() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(CHECKS)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_R36_an_example_does_what_it_says(servers: Servers, name: str) -> None:
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
    assert text is not None
    # The command that it tells people to type, but with a socket of our own.
    command = f"dorrit serve {name} -x -l /tmp/{name.removesuffix('.py')}.socket"
    assert command in text
    words = dorrit(*command.split()[1:-1], servers.path)
    run = servers.start(*words, cwd=EXAMPLES).until_listening()
    CHECKS[name](servers, run)
    assert servers.stop(run) == 0
    assert not servers.path.exists()
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "name", [name for name in sorted(CHECKS) if "dorrit.main()" in (EXAMPLES / name).read_text()]
)
def test_an_example_that_ends_with_main_runs_by_itself(servers: Servers, name: str) -> None:
    run = servers.start(sys.executable, EXAMPLES / name, "-x", "-l", servers.path)
    CHECKS[name](servers, run.until_listening())
    assert servers.stop(run) == 0
