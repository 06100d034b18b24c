"""The reference is what the docstrings say, and every public name is in it."""

import asyncio
import re
from pathlib import Path
from typing import Any

import griffe
import pytest

import dorrit
import dorrit.testing
from docs.make_reference import PAGES, REFERENCE, SETTINGS_PAGE, Page, Reference, fenced
from dorrit.settings import SETTINGS
from dorrit.testing import connect_async, serve


def headings(file: str) -> set[str]:
    return set(re.findall(r"^##+ (.+)$", (REFERENCE / file).read_text(), re.MULTILINE))


def test_the_pages_are_what_the_docstrings_and_the_settings_say() -> None:
    committed = {path.name: path.read_text() for path in REFERENCE.iterdir()}
    made = Reference().pages()
    stale = sorted(file for file in made | committed if made.get(file) != committed.get(file))
    assert stale == [], "run `make docs`"


@pytest.mark.parametrize("module", [dorrit, dorrit.testing])
def test_every_public_name_is_in_it(module: object) -> None:
    name = module.__name__  # type: ignore[attr-defined]
    described = set.union(*(headings(file) for file, p in PAGES.items() if p.module == name))
    missing = set(module.__all__) - described  # type: ignore[attr-defined]
    assert missing == ({"ServerSettings"} if module is dorrit else set())
    assert "ServerSettings" in (REFERENCE / SETTINGS_PAGE).read_text()


def test_what_a_server_and_its_connections_can_do_is_in_it() -> None:
    for kind in (dorrit.Server, dorrit.Connection, dorrit.Guest):
        members = {f"{kind.__name__}.{name}" for name in vars(kind) if not name.startswith("_")}
        assert members - headings("server.md") <= {"Connection.data"}
    assert "`data` (`Any`)" in (REFERENCE / "server.md").read_text()


def test_every_setting_is_in_it_with_its_option_and_what_it_does() -> None:
    text = (REFERENCE / SETTINGS_PAGE).read_text()
    for setting in SETTINGS:
        assert f"`{setting.name}` | " in text
        assert f"`{setting.option}`" in text
        assert setting.help in text


def test_a_docstring_that_the_pages_would_garble_is_an_error() -> None:
    reference = Reference()
    function = reference._package["api.server.Server.broadcast"]
    function.docstring.value = "Do it.\n\nReturns:\n    How many: those that have it.\n"
    with pytest.raises(ValueError, match="'Returns' has a colon"):
        reference.pages()


def test_a_name_that_the_module_does_not_have_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page("Wrong", "dorrit", ("Sever",), "")
    monkeypatch.setattr("docs.make_reference.PAGES", {"wrong.md": page})
    with pytest.raises(KeyError, match="Sever"):
        Reference()


# The examples in docstrings


def examples() -> dict[str, str]:
    """The indented code of the docstrings in the reference, by what it belongs to."""
    reference = Reference()
    objects: list[griffe.Object] = [reference._package["testing"]]
    for page in PAGES.values():
        for name in page.names:
            found = reference._find(page, name)
            objects.append(found)
            objects += reference._members(found) if isinstance(found, griffe.Class) else []
    return {
        each.path: code
        for each in objects
        if each.docstring is not None
        for code in re.findall(r"```python\n(.*?)```", fenced(each.docstring.value), re.DOTALL)
    }


def test_each_of_them_works(directory: Path) -> None:
    found = examples()
    assert set(found) == {
        "dorrit.api.server.Server",
        "dorrit.api.server.Server.every",
        "dorrit.api.server.Server.on_topic",
        "dorrit.api.guest.listen",
        "dorrit.testing",
    }
    names: dict[str, Any] = {"dorrit": dorrit, "Server": dorrit.Server, "app": dorrit.Server()}
    exec(found["dorrit.api.server.Server"], names)
    exec(found["dorrit.api.server.Server.every"], names)
    assert [each.seconds for each in names["app"]._application.periodic] == [30]
    exec(found["dorrit.api.server.Server.on_topic"], names)
    assert [each.topic for each in names["app"]._application.listeners] == ["jobs"]
    exec(found["dorrit.testing"], names)
    with serve(names["app"]) as server, server.connect() as client:
        client.send("hello")
        assert client.receive() == "hello"

    path = directory / "chat.socket"
    code = found["dorrit.api.guest.listen"].replace("/run/chat.socket", str(path))
    heard = []

    async def something_else() -> None:
        async with connect_async(path) as client:
            await client.send("hello")
            await client.ping()

    def said(conn: dorrit.Connection, message: str) -> None:
        heard.append(message)

    inner = "async def main():\n" + "".join(f"    {line}\n" for line in code.splitlines())
    names |= {"said": said, "something_else": something_else}
    exec(inner, names)
    asyncio.run(names["main"]())
    assert heard == ["hello"]
    assert not path.exists()
