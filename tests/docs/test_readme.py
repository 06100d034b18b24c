"""Both servers of the README do what their comments say."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from dorrit.testing import Rejected, serve
from tests.docs.snippets import snippet, snippets
from tests.process.crash.restarting import SEARCHED, interpreter_for_nobody
from tests.support.children import NOBODY
from tests.support.frames import Received
from tests.support.servers import TIMEOUT, Servers, dorrit, until

README = "README.md"


def test_there_is_a_test_for_every_example() -> None:
    headings = [each.heading for each in snippets(README) if each.language != "console"]
    assert headings == ["A server", "Five functions"]


def test_the_server_with_handlers_is_a_chat() -> None:
    namespace = snippet(README, "A server").run()
    with serve(namespace["app"]) as server:
        with pytest.raises(Rejected) as rejected, server.connect("/"):
            pass
        assert (rejected.value.status, rejected.value.body) == (400, b"a name is missing\n")
        with server.connect("/?name=Ann") as ann:
            with server.connect("/?name=Bob") as bob:
                bob.send("hello")
                assert [ann.receive(), bob.receive()] == ["Bob: hello", "Bob: hello"]
                namespace["tick"]()
                assert ann.receive() == "2 are here"
            assert ann.receive() == "Bob has gone"
            namespace["tick"]()
            assert ann.receive() == "1 are here"


def test_the_server_of_five_functions_is_a_chat(servers: Servers) -> None:
    file = servers.directory / "chat.py"
    file.write_text(snippet(README, "Five functions").text)
    run = servers.serve(file)
    ann, bob = servers.connect(), servers.connect()
    bob.send("grüße")
    assert [ann.receive(), bob.receive()] == [Received(1, "grüße".encode())] * 2
    bob.close()
    assert ann.ask("anybody?") == "anybody?"
    assert servers.stop(run) == 0
    assert "Traceback" not in run.err


# Its commands, as they stand there


def commands(heading: str) -> list[list[str]]:
    """The words of each `dorrit` command under a heading."""
    lines = [
        shlex.split(line, comments=True)
        for each in snippets(README, "console")
        if each.heading == heading
        for line in each.text.splitlines()
    ]
    return [words[1:] for words in lines if words and words[0] == "dorrit"]


def write(servers: Servers, heading: str) -> None:
    (servers.directory / "chat.py").write_text(snippet(README, heading).text)
    servers.directory.chmod(0o755)
    (servers.directory / "chat.py").chmod(0o644)


@pytest.mark.parametrize("heading", ["A server", "Five functions"])
def test_an_ordinary_user_can_type_the_commands_for_the_foreground(
    servers: Servers, heading: str
) -> None:
    write(servers, heading)
    mine = [words for words in commands(heading) if "-x" in words or words[0] == "check"]
    assert mine
    environment = os.environ | {"PYTHONPATH": SEARCHED}
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    for words in mine:
        command = [interpreter_for_nobody(), "-m", "dorrit", *words]
        run = servers.start(*command, env=environment, **who)
        if words[0] == "check":
            assert (run.wait(), run.err) == (0, "")
            continue
        run.until_listening()
        run.process.send_signal(signal.SIGTERM)
        assert run.wait() == 0


def test_root_can_type_the_commands_for_a_daemon(servers: Servers) -> None:
    write(servers, "A server")
    roots = [words for words in commands("A server") if "-x" not in words]
    assert [words[0] for words in roots] == [
        "check",
        "serve",
        "status",
        "reload",
        "restart",
        "stop",
    ]
    try:
        for words in roots:
            ended = subprocess.run(
                # The server's user looks at its new code, so that it must be able to run it.
                [interpreter_for_nobody(), "-m", "dorrit", *words],
                env=os.environ | {"PYTHONPATH": SEARCHED},
                cwd=servers.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert ended.returncode == 0, (words, ended.stderr)
    finally:
        subprocess.run([str(word) for word in dorrit("stop", "chat")], check=False)
    until(lambda: not list(Path("/var/run").glob("chat.*")), "the janitor's work")
