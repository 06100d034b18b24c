"""Each example of the document about reloads does what is said about it."""

import asyncio
import re

import pytest

from dorrit.testing import serve, serve_async
from tests.docs.snippets import ROOT, snippet, snippets
from tests.support.harness import LogRecords
from tests.support.servers import Servers

LIVE = "docs/live.md"


def test_who_is_in_which_room_survives(log: LogRecords) -> None:
    namespace = snippet(LIVE, "Keep what you need").run()
    with (
        serve(namespace["app"]) as server,
        server.connect("/?name=Ann") as ann,
        server.connect("/?name=Bob") as bob,
    ):
        ann.send("/join garden")
        ann.ping()
        server.reload()
        ann.ping()
        for client, said in ((ann, "Ann: hello"), (bob, "Bob: hello")):
            client.send("hello")
            assert client.receive() == said
        assert [namespace["app"].count(room) for room in ("garden", "lobby")] == [1, 1]
    assert "Traceback" not in log.text


def test_a_message_that_was_cut_off_is_done_again(log: LogRecords) -> None:
    namespace = snippet(LIVE, "Messages under way").run()
    app, book = namespace["app"], namespace["book"]
    hangs = True

    async def main() -> None:
        nonlocal hangs
        begun = asyncio.Event()

        async def hang(order: str) -> None:
            begun.set()
            if hangs:
                await asyncio.sleep(3600)
            await book(order)

        namespace["book"] = hang
        async with serve_async(app, stop_grace=0) as server, server.connect("/") as client:
            await client.send("seven eggs")
            await client.send("milk")
            await begun.wait()
            hangs = False
            await server.reload()
            assert await client.receive() == "seven eggs is booked"
            assert await client.receive() == "milk is booked"

    asyncio.run(main())
    assert namespace["booked"] == {"seven eggs", "milk"}
    assert "Traceback" not in log.text


def test_five_functions_count(servers: Servers) -> None:
    example = snippet(LIVE, "Five functions")
    file = servers.directory / "five.py"
    file.write_text(example.text)
    run = servers.start(*servers.command(file)).until_listening()
    client = servers.connect()
    assert [client.ask("a"), client.ask("b")] == ["1", "2"]
    assert servers.stop(run) == 0


@pytest.mark.parametrize("test", ["test_the_count_survives", "test_the_count_survives_a_crash"])
def test_the_tests_pass(test: str) -> None:
    snippet(LIVE, "Test it").run()[test]()


def test_there_is_a_test_for_every_example_and_every_section_is_listed() -> None:
    headings = ["Keep what you need", "Messages under way", "Five functions", "Test it"]
    assert [each.heading for each in snippets(LIVE, "python")] == headings
    text = (ROOT / LIVE).read_text()
    assert re.findall(r"^- \[(.+)\]\(#", text, re.MULTILINE) == re.findall(
        r"^## (.+)$", text, re.MULTILINE
    )
