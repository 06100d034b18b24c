"""Writes what is made from the table of the settings, into files that have more than that.

    python docs/make_settings.py

What stands there between two comments, `made from the settings: NAME` and `end of NAME`, is
replaced. It needs no build, since a build needs what is made here: it reads the table in the
sources.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "src" / "dorrit"

if "dorrit" not in sys.modules:
    sys.modules["dorrit"] = ModuleType("dorrit")
    sys.modules["dorrit"].__path__ = [str(PACKAGE)]

from dorrit.settings.readers import (  # noqa: E402 - see above
    OneOf,
    Seconds,
    WholeNumber,
    text_of,
    user_name,
)
from dorrit.settings.setting import Setting  # noqa: E402
from dorrit.settings.table import SETTINGS  # noqa: E402

OF_ENGINE: Final = tuple(setting for setting in SETTINGS if setting.engine is not None)
OF_C: Final = tuple(setting for setting in OF_ENGINE if setting.engine == "CLimits")

UINT32_MAX: Final = 2**32 - 1

# The types of Python


def _types(setting: Setting) -> tuple[type, ...]:
    """Return the types that code may give."""
    accepts = setting.accepts
    return (accepts,) if isinstance(accepts, type) else accepts.__args__


def _value_type(setting: Setting) -> str:
    """Return the type of the value."""
    if setting.repeatable:
        return "tuple[str, ...]"
    if str in _types(setting):
        return "str | None" if setting.default is None else "str"
    if setting.default is None:
        return " | ".join(kind.__name__ for kind in _types(setting)) + " | None"
    return type(setting.default).__name__


def _given_type(setting: Setting) -> str:
    """Return the type of what code gives."""
    if float in _types(setting):
        return "float"  # which admits an int, to a type checker
    paths = {"PathLike": "os.PathLike[str]"}
    one = " | ".join(paths.get(kind.__name__, kind.__name__) for kind in _types(setting))
    if setting.repeatable:
        return f"{one} | Sequence[{one}]"
    return f"{one} | None" if setting.default is None else one


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def values() -> Iterator[str]:
    """Make the fields of `Settings`."""
    for setting in SETTINGS:
        yield f"    {setting.name}: {_value_type(setting)} = {_literal(setting.default)}"


def server_settings() -> Iterator[str]:
    """Make the fields of `ServerSettings`."""
    for setting in SETTINGS:
        yield f"    {setting.name}: {_given_type(setting)}"


def given() -> Iterator[str]:
    """Make a value of each setting, of whatever type code may give."""
    for setting in SETTINGS:
        yield f'    "{setting.name}": {_sample(setting)},'


def _sample(setting: Setting) -> str:
    """Return a value, of the type that is the least like the one on the command line."""
    kinds = {kind.__name__ for kind in _types(setting)}
    if "bool" in kinds:
        return "True"
    if setting.repeatable:
        return '["some", 33]' if "int" in kinds else '["same"]'
    if "int" in kinds:
        return str(int(setting.default or 0))
    if "PathLike" in kinds:
        return f'Path("/{setting.name}")'
    return _literal(setting.default)


# The engine


def limits() -> Iterator[str]:
    """Make the fields of `Limits`."""
    for setting in OF_ENGINE:
        if setting.read is user_name:
            yield f"    {setting.name}: frozenset[int] = frozenset()"
            continue
        line = f"    {setting.name}: {_value_type(setting)} = "
        match setting.read:
            case WholeNumber() | Seconds() as span:
                allowed = f"_range({setting.engine_least}, {span.most})"
            case OneOf() as choice:
                allowed = f"_words({', '.join(map(_literal, choice.words))})"
            case _:
                yield line + _literal(setting.default)
                continue
        line += f"field(default={_literal(setting.default)}, metadata={allowed})"
        if len(line) <= 100:  # noqa: PLR2004 - as ruff has it
            yield line
            continue
        before, _, after = line.partition("field(")
        yield f"{before}field("
        yield f"        {after.removesuffix(')')}"
        yield "    )"


def _c_name(setting: Setting, word: str) -> str:
    return f"{setting.name}_{word}".upper()


def c_enum() -> Iterator[str]:
    """Make the constants of those that are one of some words."""
    for setting in OF_C:
        if isinstance(setting.read, OneOf):
            for word in setting.read.words:
                yield f"    {_c_name(setting, word)}"


def c_struct() -> Iterator[str]:
    """Make the fields of `CLimits`."""
    for setting in OF_C:
        match setting.read:
            case Seconds():
                yield f"    uint64_t {setting.name}  # milliseconds"
            case WholeNumber(most=most) if most > UINT32_MAX:
                yield f"    size_t {setting.name}"
            case WholeNumber() | OneOf():
                yield f"    uint32_t {setting.name}"
            case _:
                yield f"    bint {setting.name}"


def c_taken() -> Iterator[str]:
    """Make what fills `CLimits` from `Limits`."""
    for setting in OF_C:
        value = f"values.{setting.name}"
        if isinstance(setting.read, Seconds):
            value = f"milliseconds_of({value})"
        elif isinstance(setting.read, OneOf):
            value = f"{setting.read.words}.index({value})".replace("'", '"')
        yield f"    limits.{setting.name} = {value}"


# The manual


def _names(setting: Setting) -> list[str]:
    return [name for name in (setting.flag, setting.option, setting.opposite) if name]


def _argument(setting: Setting) -> str:
    return f" Ar {setting.metavar}" if setting.metavar else ""


def _in_order(setting: Setting) -> tuple[bool, str]:
    """Return what the list is sorted by: what has a short form comes first."""
    return setting.flag is None, _names(setting)[0]


def _in_synopsis(setting: Setting) -> tuple[bool, bool, str]:
    """Return what the synopsis is sorted by: short switches come first."""
    is_long, name = _in_order(setting)
    return is_long, not is_long and setting.metavar is not None, name


def synopsis() -> Iterator[str]:
    """Make the options of the synopsis."""
    for setting in sorted(SETTINGS, key=_in_synopsis):
        yield f".Op Fl {_names(setting)[0][1:]}{_argument(setting)}"


def options() -> Iterator[str]:
    """Make the list of the options."""
    for setting in sorted(SETTINGS, key=_in_order):
        heads = (f"Fl {name[1:]}{_argument(setting)}" for name in _names(setting))
        yield f".It {' , '.join(heads)}"
        yield textwrap.dedent(setting.manual).strip() if setting.manual else in_mdoc(setting.help)
        if setting.metavar is not None and setting.default not in (None, ()):
            yield _default(setting)


def _default(setting: Setting) -> str:
    text = text_of(setting.default)
    if isinstance(setting.read, OneOf):
        return f"The default is\n.Cm {text} ."
    return f"The default is {text}."


def in_mdoc(sentence: str) -> str:
    """Return a sentence of the help in the language of mdoc(7), in which an option is a line."""
    lines = []
    for index, part in enumerate(re.split(r" ?(--[a-z-]+[,.:;]?) ?", f"{sentence}.")):
        if index % 2:
            option, mark = re.fullmatch(r"--([a-z-]+)(.?)", part).groups()  # type: ignore[union-attr]
            lines.append(f".Fl -{option} {mark}".rstrip())
        elif part:
            text = part.replace("\\", "\\e")
            lines += textwrap.wrap(text[0].upper() + text[1:] if not lines else text, 79)
    return "\n".join(lines)


# The page about security


def limits_table() -> Iterator[str]:
    """Make the table of limits."""
    yield ""
    yield "| option | default | what happens beyond it | what it stops | proved by |"
    yield "| --- | --- | --- | --- | --- |"
    for setting in SETTINGS:
        if setting.limit is not None:
            limit = setting.limit
            cells = (f"`{setting.option}`", text_of(setting.default))
            cells = (*cells, limit.beyond, limit.stops, limit.proved_by)
            yield f"| {' | '.join(cells)} |"
    yield ""


# All of it

MADE: Final[Mapping[str, Mapping[str, Callable[[], Iterator[str]]]]] = {
    "src/dorrit/settings/values.py": {"values": values, "what code may give": server_settings},
    "src/dorrit/engine/limits.py": {"limits": limits},
    "src/dorrit/engine/limits.pxd": {"words": c_enum, "fields": c_struct, "values": c_taken},
    "tests/type_checks/whole_api.py": {"settings": given},
    "man/dorrit.1": {"synopsis": synopsis, "options": options},
    "docs/security.md": {"limits": limits_table},
}
"""The parts of each file that are made here."""


def made(file: str) -> str:
    """Return what a file should be.

    Raises:
        ValueError: A part of it is not marked.
    """
    text = (ROOT / file).read_text()
    for name, make in MADE[file].items():
        part = re.compile(
            rf"^(.*made from the settings: {name}\b.*\n)(?:.*\n)*?(.*end of {name}\b.*)$",
            re.MULTILINE,
        )
        body = "\n".join(make()) + "\n"
        text, found = part.subn(lambda match, body=body: match[1] + body + match[2], text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{file}: {name!r} is marked {found} times")
    return text


def main() -> None:
    """Write what has changed."""
    for file in MADE:
        text = made(file)
        if text != (ROOT / file).read_text():
            (ROOT / file).write_text(text)


if __name__ == "__main__":
    main()
