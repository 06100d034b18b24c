"""The tutorial, followed to the letter: its files are written, its commands run."""

import re
import shlex
import sys
import urllib.request

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.docs.snippets import ROOT, snippets
from tests.support.servers import TIMEOUT, Run, Servers, dorrit, until

TUTORIAL = "docs/tutorial.md"
EXAMPLES = ROOT / "examples"

SAME = {
    "echo.py": "object_echo.py",
    "chat.py": "chat.py",
    "history.py": "history.py",
    "live_chat.py": "live_chat.py",
    "chat_page/index.html": "chat_page/index.html",
}
"""What people write in the tutorial, and the example that is the same."""


def files() -> dict[str, str]:
    """The files that the tutorial has people write, by the names that it gives them."""
    text = (ROOT / TUTORIAL).read_text()
    found = {}
    for code in (each for each in snippets(TUTORIAL) if each.language != "console"):
        before = text[: text.index(code.text)]
        found[re.findall(r"`([\w/]+\.(?:py|html))`", before)[-1]] = code.text
    return found


def dev_commands() -> list[str]:
    lines = [line for each in snippets(TUTORIAL, "console") for line in each.text.splitlines()]
    return [line for line in lines if line.startswith("dorrit dev ")]


@pytest.fixture
def written(servers: Servers) -> Servers:
    """A directory in which somebody has written the files."""
    for name, text in files().items():
        path = servers.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return servers


def typed(servers: Servers, command: str) -> tuple[Run, str]:
    """Type a ``dorrit dev``, but with any free port; return the address that it prints."""
    run = servers.start(*dorrit(*shlex.split(command)[1:], "--port", "0"))
    address = re.compile(r"http://(127\.0\.0\.1:\d+/)")
    until(lambda: address.search(run.out + run.err) or run.process.poll() is not None)
    assert run.process.poll() is None, run.err
    found = address.search(run.out + run.err)
    assert found is not None
    return run, found[1]


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}") as response:
        text: str = response.read().decode()
        return text


def client(address: str, target: str = "") -> ClientConnection:
    return connect(f"ws://{address}{target}", proxy=None, open_timeout=TIMEOUT)


def test_the_files_are_the_examples() -> None:
    written = files()
    assert set(written) == {*SAME, "test_echo.py", "test_live_chat.py"}
    for name, example in SAME.items():
        text = (EXAMPLES / example).read_text()
        # But for their first lines, and the last ones that make programs of them.
        text = re.sub(r'\A""".*?"""\n\n', "", text, flags=re.DOTALL)
        text = text.removesuffix('\n\nif __name__ == "__main__":\n    app.run()\n')
        assert written[name] == text


def test_the_echo_comes_back_and_a_change_restarts_it(written: Servers) -> None:
    command, _, _ = dev_commands()
    assert command == "dorrit dev echo.py:app"
    _, address = typed(written, command)
    assert "Connect" in page(address)
    with client(address) as one:
        one.send("hello")
        assert one.recv() == "hello"

        file = written.directory / "echo.py"
        # As most editors do it: a file that is written in its place is empty for a moment.
        new = file.with_name("new")
        new.write_text(file.read_text().replace("send(message)", "send(message.upper())"))
        new.replace(file)
        with pytest.raises(Exception, match="1001"):
            one.recv(TIMEOUT)
    with client(address) as again:
        again.send("hello")
        assert again.recv() == "HELLO"


def test_the_tests_pass_and_can_fail(written: Servers) -> None:
    run = written.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error")
    assert run.process.returncode == 0, run.out
    assert "2 passed" in run.out
    for name, right, wrong in (
        ("echo.py", "send(message)", "send('no')"),
        ("live_chat.py", "state.decode()", "''"),
    ):
        file = written.directory / name
        text = file.read_text()
        file.write_text(text.replace(right, wrong))
        failed = written.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
        assert failed.process.returncode == 1
        assert "1 failed, 1 passed" in failed.out
        file.write_text(text)


def test_the_chat_has_its_page(written: Servers) -> None:
    _, command, _ = dev_commands()
    _, address = typed(written, command)
    assert page(address) == files()["chat_page/index.html"]
    with client(address, "chat?name=Ann") as ann, client(address, "chat?name=Bob") as bob:
        bob.send("hello")
        assert [ann.recv() for _ in range(3)] == ["Ann has joined", "Bob has joined", "Bob: hello"]


def test_the_history_is_there_after_a_restart(written: Servers) -> None:
    _, _, command = dev_commands()
    run, address = typed(written, command)
    with client(address, "chat?name=Ann") as ann:
        ann.send("hello")
        assert ann.recv() == "Ann: hello"
    assert written.stop(run) == 0
    _, address = typed(written, command)
    assert page(address) == files()["chat_page/index.html"]
    with client(address, "chat?name=Bob") as bob:
        assert bob.recv() == "Ann: hello"
