"""The manual pages: right, installed, and of the same mind as the program (R38)."""

import argparse
import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dorrit
from dorrit.api.functions import CALLBACKS, OPTIONAL
from dorrit.cli import check, dev, reload, restart, serve, status, stop
from dorrit.settings import SETTINGS, CommandLine
from dorrit.settings.readers import text_of

MAN = Path(__file__).parents[2] / "man"
COMMAND, LIBRARY = MAN / "dorrit.1", MAN / "libdorrit.3"

PAGES = (COMMAND, LIBRARY)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each subcommand."""
    commands = CommandLine(prog="dorrit").add_subparsers()
    for module in (check, dev, reload, restart, serve, status, stop):
        module.add_parser(commands)
    return dict(commands.choices)


PARSERS = parsers()


def section(page: Path, title: str) -> str:
    """The source of a section or subsection, without its title."""
    found = re.search(
        rf"^\.S[hs] {re.escape(title)}\n(.*?)(?=^\.S[hs] |\Z)",
        page.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, title
    return found[1]


def items(source: str, macro: str) -> dict[str, str]:
    """The items of lists whose head begins with a macro: the head, and what is said of it."""
    parts = re.split(rf"^\.It {macro} ", source, flags=re.MULTILINE)[1:]
    return {head: text for head, _, text in (part.partition("\n") for part in parts)}


def flags(text: str) -> set[str]:
    return {f"-{flag}" for flag in re.findall(r"Fl (-?[\w-]+)", text)}


def option_heads(command: str) -> list[str]:
    source = section(COMMAND, f"dorrit {command}")
    return re.findall(r"^\.It (Fl .*)$", source, re.MULTILINE)


def option_strings(command: str) -> set[str]:
    """The options that the program takes."""
    actions = PARSERS[command]._actions
    return {word for action in actions for word in action.option_strings} - {"-h", "--help"}


OF_SETTINGS = {
    word
    for setting in SETTINGS
    for word in (setting.flag, setting.option, setting.opposite)
    if word
}


# What mandoc says


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_R38_mandoc_has_nothing_to_say(page: Path) -> None:
    ran = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_R38_it_can_be_read_on_a_terminal(page: Path) -> None:
    ran = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=78", page],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = re.sub(".\x08", "", ran.stdout)
    assert max(map(len, text.splitlines())) <= 80
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "SIGNALS", "FILES", "EXAMPLES", "SEE ALSO"):
        assert re.search(f"^{title}$", text, re.MULTILINE), title
    assert "RFC 6455" in " ".join(text.split())


# The command


def test_R38_every_command_is_in_it_and_no_other() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "dorrit", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^ {4}(\w+) ", told.partition("\ncommands:\n")[2], re.MULTILINE)
    documented = re.findall(r"^\.Ss dorrit (\w+)$", COMMAND.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(commands)
    assert sorted(documented) == sorted(PARSERS)
    assert re.findall(r"^\.Cm (\w+)$", section(COMMAND, "SYNOPSIS"), re.MULTILINE) == documented


def test_R38_every_setting_is_in_it_and_nothing_else() -> None:
    documented = set().union(*map(flags, option_heads("serve")))
    assert documented == OF_SETTINGS
    assert documented == option_strings("serve")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_R38_each_setting_has_its_names_its_value_and_its_default(setting: Any) -> None:
    value = "" if setting.metavar is None else f" Ar {setting.metavar}"
    names = [word for word in (setting.flag, setting.option, setting.opposite) if word]
    head = " , ".join(f"Fl {word[1:]}{value}" for word in names)
    assert head in option_heads("serve")
    text = items(section(COMMAND, "dorrit serve"), "Fl")[head.removeprefix("Fl ")]
    if setting.default is not None and setting.metavar is not None:
        default = text_of(setting.default) if setting.default != () else "every"
        assert re.search(rf"The default is\s+(\.Cm )?{default}\b", text)


def test_R38_every_option_of_the_other_commands_is_in_it() -> None:
    of_dev = set().union(*map(flags, option_heads("dev")))
    assert of_dev == option_strings("dev") - OF_SETTINGS
    assert option_strings("dev") - of_dev <= OF_SETTINGS
    assert option_heads("check") == []
    assert option_strings("check") == OF_SETTINGS  # "With the same options."
    of_stop = set().union(*map(flags, option_heads("stop")))
    assert of_stop == option_strings("stop")
    # "With the same options."
    of_restart = set().union(*map(flags, option_heads("restart")))
    assert option_strings("restart") == of_stop | of_restart
    assert not of_stop & of_restart
    assert option_heads("status") == []
    assert option_strings("status") == set()


def test_R38_the_synopsis_has_each_option_once() -> None:
    parts = re.split(r"^\.Cm (\w+)$", section(COMMAND, "SYNOPSIS"), flags=re.MULTILINE)
    usages = dict(zip(parts[1::2], parts[2::2], strict=True))
    for command, usage in usages.items():
        named = [
            next(word for word in action.option_strings if not word.startswith("--"))
            if any(not word.startswith("--") for word in action.option_strings)
            else action.option_strings[0]
            for action in PARSERS[command]._actions
            if action.option_strings and "-h" not in action.option_strings
        ]
        if command in {"check", "dev"}:
            named = [word for word in named if word not in OF_SETTINGS]
        own = usage.partition("\n.Nm\n.Fl -help")[0]
        found = [f"-{flag}" for flag in re.findall(r"^\.Op Fl (-?[\w-]+)", own, re.MULTILINE)]
        assert sorted(found) == sorted(named), command
        positional = [
            str(action.metavar) for action in PARSERS[command]._actions if not action.option_strings
        ]
        assert re.findall(r"^\.(?:Op )?Ar (\w+)$", own, re.MULTILINE) == positional


# The library


def prototypes() -> dict[str, list[str]]:
    """Each function of the synopsis, and its parameters."""
    block = re.search(r"\.Bd -literal\n(.*?)\.Ed", section(LIBRARY, "SYNOPSIS"), re.DOTALL)
    assert block is not None
    functions = [node for node in ast.parse(block[1]).body if isinstance(node, ast.FunctionDef)]
    return {node.name: [argument.arg for argument in node.args.args] for node in functions}


# This manual page is that of the five functions; docs/reference/ describes the objects.
OBJECTS = {
    *("CloseCode", "Guest", "Headers", "Peer", "Query", "Reject", "Request", "Server"),
    *("ServerSettings", "listen"),
}
NAMES = set(dorrit.__all__) - OBJECTS
FUNCTIONS = {name for name in NAMES if inspect.isroutine(getattr(dorrit, name))}


def test_R38_every_function_is_in_it_with_its_prototype() -> None:
    found = prototypes()
    assert set(found) == {*CALLBACKS, *OPTIONAL} | FUNCTIONS
    for name in FUNCTIONS:
        assert found[name] == list(inspect.signature(getattr(dorrit, name)).parameters), name


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Functions that you define", {*CALLBACKS, *OPTIONAL}),
        ("Functions that you call", FUNCTIONS),
    ],
)
def test_R38_every_function_is_described_and_no_other(title: str, names: set[str]) -> None:
    heads = [head.split() for head in items(section(LIBRARY, title), "Fn")]
    assert {name for name, *_ in heads} == names
    assert {name: parameters for name, *parameters in heads} == {
        name: parameters for name, parameters in prototypes().items() if name in names
    }


def test_R38_every_other_name_is_described_and_no_other() -> None:
    described = set(items(section(LIBRARY, "The other names"), "Va"))
    public = {name for name in dir(dorrit.Connection) if not name.startswith("_")}
    assert described == (NAMES - FUNCTIONS) | public


def test_R38_the_example_is_a_server() -> None:
    block = re.search(r"\.Bd -literal.*?\n(.*?)\.Ed", section(LIBRARY, "EXAMPLES"), re.DOTALL)
    assert block is not None
    names = {node.name for node in ast.parse(block[1]).body if isinstance(node, ast.FunctionDef)}
    assert names == set(CALLBACKS)
    assert block[1].endswith("\ndorrit.main()\n")


# Installed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_R38_man_finds_what_was_installed(page: Path) -> None:
    files = importlib.metadata.files("dorrit")
    assert files is not None
    (installed,) = [Path(str(file.locate())).resolve() for file in files if file.name == page.name]
    assert installed.read_bytes() == page.read_bytes()
    # Whoever has the command in PATH finds its page.
    scripts = installed.parents[2] / "bin"
    assert (scripts / "dorrit").exists()
    environment = {name: value for name, value in os.environ.items() if name != "MANPATH"}
    ran = subprocess.run(
        ["man", "--where", page.stem],
        env=environment | {"PATH": f"{scripts}:{os.defpath}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, f"{installed}\n"), ran.stderr
