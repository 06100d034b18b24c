"""Makes ``docs/reference`` from the docstrings and from the table of the settings.

    python docs/make_reference.py

griffe reads the sources, the stubs of the compiled modules included, and takes their docstrings
apart. Here stands what goes on which page, and what it looks like there.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import griffe

import dorrit
from dorrit.api.server import EVENTS, FURTHER
from dorrit.settings import SETTINGS, Setting
from dorrit.settings.readers import text_of

ROOT: Final = Path(__file__).parents[1]
REFERENCE: Final = ROOT / "docs" / "reference"

OPTIONS: Final[Any] = {
    "returns_multiple_items": False,
    "returns_named_value": False,
    "warn_unknown_params": False,
}
"""How griffe takes docstrings apart."""


@dataclass(frozen=True)
class Page:
    """One page of the reference.

    Attributes:
        title: Its heading.
        module: Where the names are, as a user imports them.
        names: What it describes, in this order.
        introduction: What stands before.
    """

    title: str
    module: str
    names: tuple[str, ...]
    introduction: str


PAGES: Final[Mapping[str, Page]] = {
    "server.md": Page(
        "Servers and connections",
        "dorrit",
        (
            *("Server", "Connection", "Request", "Headers", "Query", "Reject", "Peer", "Recovered"),
            *("CloseCode", "listen", "Guest", "DorritError", "StartError", "__version__"),
        ),
        "The object API. All of these are names of the module `dorrit`.",
    ),
    "functions.md": Page(
        "The five functions",
        "dorrit",
        (
            *("ws_write_conn", "ws_close_conn", "ws_set_data", "ws_get_data", "ws_save"),
            *("ws_subscribe", "ws_unsubscribe", "ws_publish"),
            *("ws_set_periodic", "ws_set_name", "ws_config_file", "main"),
        ),
        "What a server of five functions calls; names of the module `dorrit`. The functions that "
        "it defines are described in the manual page libdorrit(3) and in the "
        "[README](../../README.md#five-functions).",
    ),
    "testing.md": Page(
        "dorrit.testing",
        "dorrit.testing",
        (
            *("serve", "serve_async", "connect", "connect_async", "ClientOptions"),
            *("Serving", "Client", "AsyncServing", "AsyncClient", "Rejected", "Closed"),
        ),
        "",
    ),
}
SETTINGS_PAGE: Final = "settings.md"

CONSTRUCTED: Final = {"Server", "Reject"}
"""The classes of which users make objects; the others' objects are made by dorrit."""

HIDDEN: Final = {
    *("Request.trust", "Request.answered", "Request.agree", "Request.resumed", "Request.head"),
    "Query.parse",
}
"""What only the server itself calls."""

BLOCKS: Final = {"__enter__": "__exit__", "__aenter__": "__aexit__"}
"""What begins and ends a ``with`` block."""


class Reference:
    """All pages, and where on them each name stands."""

    def __init__(self) -> None:
        """Read the sources."""
        self._package = griffe.load(
            "dorrit",
            search_paths=[ROOT / "src"],
            docstring_parser="google",
            docstring_options=OPTIONS,
            allow_inspection=False,
        )
        self._places: dict[str, str] = {"ServerSettings": SETTINGS_PAGE}
        for file, page in PAGES.items():
            for name in page.names:
                found = self._find(page, name)
                # The names of dorrit.testing are common words, such as connect.
                own = "" if page.module == "dorrit" else page.module + "."
                self._places[own + name] = f"{file}#{anchor(name)}"
                if isinstance(found, griffe.Class):
                    for member in self._members(found):
                        full = f"{name}.{member.name}"
                        self._places[own + full] = f"{file}#{anchor(full)}"

    def _find(self, page: Page, name: str) -> griffe.Object:
        path = f"{page.module}.{name}".removeprefix("dorrit.")
        found = self._package[path]
        return found.final_target if isinstance(found, griffe.Alias) else found

    def _members(self, of: griffe.Class) -> Iterator[griffe.Object]:
        """Return what users see of a class, in the order of its source; inherited ones last."""
        for name, member in [*of.members.items(), *of.inherited_members.items()]:
            target = member.final_target if isinstance(member, griffe.Alias) else member
            described = target.docstring is not None and not name.startswith("_")
            if described and f"{of.name}.{name}" not in HIDDEN:
                yield target

    # Pages

    def pages(self) -> dict[str, str]:
        """Return the text of each page, by the name of its file."""
        made = {file: self._page(file, page) for file, page in PAGES.items()}
        made[SETTINGS_PAGE] = _settings_page()
        made["README.md"] = self._contents()
        return {
            file: re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n" for file, text in made.items()
        }

    def _contents(self) -> str:
        lines = [
            "# Reference",
            "This is made from the docstrings by `make docs`: don't change it here.",
        ]
        for file, page in PAGES.items():
            names = (f"[`{name}`]({file}#{anchor(name)})" for name in page.names)
            lines.append(f"- [{page.title}]({file}): {', '.join(names)}")
        lines.append(f"- [Settings]({SETTINGS_PAGE}): all options of `dorrit serve` and `Server`")
        return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])

    def _page(self, file: str, page: Page) -> str:
        introduction = page.introduction
        if not introduction:
            module = self._package[page.module.removeprefix("dorrit.")]
            introduction = "\n\n".join(self._sections(module, file))
        parts = [f"# {page.title}", introduction]
        for name in page.names:
            parts += self._described(name, self._find(page, name), file)
        return "\n\n".join(part for part in parts if part)

    def _described(self, name: str, found: griffe.Object, file: str) -> Iterator[str]:
        yield f"## {name}"
        if isinstance(found, griffe.Class):
            yield from self._class(name, found, file)
        elif isinstance(found, griffe.Function):
            yield _code(_signature(found, name))
            yield from self._sections(found, file)
        elif name == "ws_write_conn":
            overloads = self._package["engine.broadcast"].overloads["queue_message"]
            yield _code("\n".join(_signature(each, name) for each in overloads))
            yield from self._sections(overloads[-1], file)
        else:
            assert isinstance(found, griffe.Attribute), found
            if found.annotation is not None:
                yield _code(f"{name}: {found.annotation}")
            yield from self._sections(found, file)

    def _class(self, name: str, found: griffe.Class, file: str) -> Iterator[str]:
        constructor = found.members.get("__init__")
        if name in CONSTRUCTED:
            assert isinstance(constructor, griffe.Function)
            yield _code(_signature(constructor, f"class {name}", returns=False))
        bases = [str(base) for base in found.bases if str(base) in dorrit.__all__]
        if bases:
            yield self._linked(f"A `{bases[0]}`.", file, name)
        yield from self._sections(found, file)
        if name == "CloseCode":
            yield _close_codes()
        if name in CONSTRUCTED and constructor is not None:
            yield from list(self._sections(constructor, file))[1:]
        for begin, end in BLOCKS.items():
            if begin in found.members and end in found.members:
                yield f"### {'async ' * begin.startswith('__a')}with {name}"
                yield from self._sections(found.members[begin], file)
                yield from (
                    f"At its end: {text}" for text in self._sections(found.members[end], file)
                )
        for member in self._members(found):
            yield f"### {name}.{member.name}"
            yield _code(_member_signature(name, member))
            yield from self._sections(member, file, name)

    # Docstrings

    def _sections(
        self, of: griffe.Object | griffe.Alias, file: str, owner: str | None = None
    ) -> Iterator[str]:
        """Return the parts of a docstring as Markdown."""
        if of.docstring is None:
            return
        owner = owner or (of.name if of.is_class else None)
        for section in of.docstring.parsed:
            if isinstance(section, griffe.DocstringSectionText):
                yield self._linked(fenced(section.value), file, owner)
                continue
            heading, items = _items(section, of)
            lines = [f"**{heading}**", ""] if heading else []
            for label, text in items:
                body = self._linked(" ".join(text.split()), file, owner)
                lines.append(f"- {label}: {body}" if label else f"{body}")
            yield "\n".join(lines)

    def _linked(self, text: str, file: str, owner: str | None) -> str:
        """Make links of the names in a text that the reference describes."""

        def link(match: re.Match[str]) -> str:
            name = match["name"]
            module = "dorrit.testing." if file == "testing.md" else ""
            for full in (f"{module}{owner}.{name}", module + name, name):
                place = self._places.get(full)
                if place is not None and name != owner:
                    page, _, anchor = place.partition("#")
                    target = f"#{anchor}" if page == file else place
                    return f"[`{name}`]({target})"
            return match[0]

        def link_setting(match: re.Match[str]) -> str:
            return f"{match[1]} [`{match[2]}`]({SETTINGS_PAGE}#{match[2]})"

        pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
        for index in range(0, len(pieces), 2):
            piece = re.sub(r"(settings?) `(\w+)`", link_setting, pieces[index])
            pieces[index] = re.sub(r"(?<![`\[])`(?P<name>[A-Za-z_.]+)`(?![`\]])", link, piece)
        return "".join(pieces)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def fenced(text: str) -> str:
    """Fence the indented code of a docstring."""

    def fence(match: re.Match[str]) -> str:
        return f"\n\n{_code(textwrap.dedent(match[1]).strip())}\n\n"

    return re.sub(r"\n\n((?:    .*\n|\n(?=    ))*    .*)(?=\n\n|\Z)", fence, text).strip()


def _items(
    section: griffe.DocstringSection, of: griffe.Object | griffe.Alias
) -> tuple[str, Iterable[tuple[str, str]]]:
    """Return the heading of a docstring's section, and labels and texts of what it lists."""
    values: Any = section.value
    match section.kind:
        case griffe.DocstringSectionKind.parameters:
            heading = "Arguments"
            labels = [_typed(value.name, value.annotation) for value in values]
        case griffe.DocstringSectionKind.attributes:
            heading = "Attributes"
            labels = [_typed(value.name, value.annotation or _given(of, value)) for value in values]
        case griffe.DocstringSectionKind.raises:
            heading = "Raises"
            labels = [f"`{value.annotation}`" for value in values]
        case griffe.DocstringSectionKind.returns:
            heading = ""
            for value in values:
                # griffe takes what stands before a colon for the type.
                if str(value.annotation) != str(getattr(of, "returns", None)):
                    raise ValueError(f"{of.path}: its 'Returns' has a colon in the first line")
            return heading, [("", f"**Returns** {value.description}") for value in values]
        case kind:
            raise ValueError(f"{of.path}: no page shows a section {kind.value} of a docstring")
    return heading, [
        (label, value.description) for label, value in zip(labels, values, strict=True)
    ]


def _given(of: griffe.Object | griffe.Alias, attribute: griffe.DocstringAttribute) -> object:
    """Return the type of an attribute that the constructor takes by the same name."""
    constructor = of.members.get("__init__")
    if not isinstance(constructor, griffe.Function) or attribute.name not in constructor.parameters:
        return None
    return constructor.parameters[attribute.name].annotation


def _value(function: griffe.Function, default: str | griffe.Expr) -> str:
    """Return a default; that of a constant, which its page would not say."""
    constant = function.module.members.get(str(default))
    if isinstance(constant, griffe.Attribute) and constant.value is not None:
        return str(constant.value)
    return str(default)


def _typed(name: str, annotation: object) -> str:
    return f"`{name}`" + (f" (`{annotation}`)" if annotation else "")


# Signatures

_KINDS: Final = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}


def _signature(function: griffe.Function, name: str, *, returns: bool = True) -> str:
    """Return a signature as it would be written."""
    words = []
    was_keyword_only = False
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not was_keyword_only:
            words.append("*")
            was_keyword_only = True
        word = _KINDS.get(parameter.kind, "") + parameter.name
        word += f": {parameter.annotation}" if parameter.annotation else ""
        if parameter.default is not None and parameter.kind not in _KINDS:
            word += f" = {_value(function, parameter.default)}"
        words.append(word)
    result = f" -> {function.returns}" if returns and function.returns else ""
    line = f"{name}({', '.join(words)}){result}"
    if len(line) > 88:  # noqa: PLR2004 - what fits on a page without scrolling
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"
    return line


def _member_signature(owner: str, member: griffe.Object) -> str:
    if isinstance(member, griffe.Attribute):
        return f"{member.name}: {member.annotation}"
    assert isinstance(member, griffe.Function), member.path
    event = member.name.removeprefix("on_")
    if owner == "Server" and event in EVENTS:
        further = [f"{name}=None" for name in FURTHER.get(event, ())]
        return f"@app.{member.name}\ndef handler({', '.join([*EVENTS[event], *further])}): ..."
    is_async = "async" in member.labels
    return ("async " if is_async else "") + _signature(member, member.name)


# Tables


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _close_codes() -> str:
    return _table(
        ("code", "name", "meaning"),
        ((str(int(code)), f"`{code.name}`", code.meaning) for code in dorrit.CloseCode),
    )


def _settings_page() -> str:
    table = _table(("in code", "option", "default", "meaning"), map(_setting, SETTINGS))
    return f"""# Settings

Each is an option of `dorrit serve`, `dorrit dev` and `app.run()`, and an argument of
[`Server`](server.md#server) and [`dorrit.listen`](server.md#listen), whose type is
`dorrit.ServerSettings`: `Server("chat", ping_interval=20)` is `--ping-interval 20`. The command
line goes before the code, and the code before the default.

{table}

What may be given more than once is a sequence in code: `origin=["same", "https://example.org"]`.
The command line replaces it as a whole.
"""


def _setting(setting: Setting) -> list[str]:
    options = [setting.flag, setting.option, setting.opposite]
    shown = ", ".join(f"`{option}`" for option in options if option)
    if setting.metavar is not None:
        shown += f" `{setting.metavar}`"
    default = f"`{text_of(setting.default)}`"
    if setting.default is False:
        default = "off"
    elif setting.default is None or setting.default == ():
        default = setting.unset or "none"
    return [f'<a id="{setting.name}"></a>`{setting.name}`', shown, default, setting.help]


def main() -> None:
    """Write the pages, and remove what is not a page any more."""
    pages = Reference().pages()
    REFERENCE.mkdir(exist_ok=True)
    for path in REFERENCE.iterdir():
        if path.name not in pages:
            path.unlink()
    for file, text in pages.items():
        (REFERENCE / file).write_text(text)


if __name__ == "__main__":
    main()
