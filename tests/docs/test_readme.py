"""Both servers of the README do what their comments say."""

import pytest

from dorrit.testing import Rejected, serve
from tests.docs.snippets import snippet, snippets
from tests.support.frames import Received
from tests.support.servers import Servers

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
