"""The commands in the documentation can be typed: their options and files exist."""

import argparse
import re
import shlex
import tomllib

import pytest

from dorrit.cli import check, dev, reload, restart, serve, status, stop
from dorrit.settings import CommandLine
from tests.docs.snippets import ROOT, documents, snippets

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PACKAGES = {
    name
    for file in ("requirements.txt", "portable-requirements.txt")
    for name in re.findall(r"^([\w-]+)", (ROOT / "tests" / file).read_text(), re.MULTILINE)
}


def commands() -> list[str]:
    """Each line of an indented block, continued ones joined, and of the examples' first lines."""
    lines = [
        line
        for document in documents()
        for snippet in snippets(document, "console")
        for line in snippet.text.replace("\\\n", " ").splitlines()
    ]
    for example in sorted((ROOT / "examples").glob("*.py")):
        text = example.read_text()
        lines += re.findall(r"^(?:Run it with|Try it.*?|It needs|Then): (.+)$", text, re.MULTILINE)
    return sorted(set(lines))


def parser() -> argparse.ArgumentParser:
    made = CommandLine(prog="dorrit")
    subcommands = made.add_subparsers(required=True)
    for each in (serve, check, dev, status, stop, reload, restart):
        each.add_parser(subcommands)
    return made


@pytest.mark.parametrize("command", commands())
def test_a_command_can_be_typed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples")  # which has the files of the tutorial
    words = shlex.split(command, comments=True)
    match words:
        case ["dorrit", *options]:
            parser().parse_args(options)
        case ["make", target]:
            assert target in TARGETS
        case ["pip", "install", *packages]:
            for package in packages:
                name, extras = re.fullmatch(r"([\w./-]+)(?:\[([\w,]+)\])?", package).groups()  # type: ignore[union-attr]
                if name.rpartition("/")[2] in {"dorrit", "."}:
                    extras = extras.split(",") if extras else []
                    assert set(extras) <= set(PROJECT["optional-dependencies"])
                else:
                    assert name in PACKAGES
        case ["python", file, "/tmp/guest.socket", "9000"]:
            assert (ROOT / "examples" / file).is_file()
        case ["python3", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
            pass
        case ["python", "-m", "pytest"] | ["echo", "hello", "|", "nc", "127.0.0.1", "9000"]:
            pass
        case _:
            pytest.fail(f"no test knows what this does: {command}")


def test_a_command_with_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="unrecognized arguments: --ping-intervall"):
        parser().parse_args(["serve", "chat.py:app", "--ping-intervall", "20"])
    assert "dorrit serve chat.py:app --ping-interval 20" in commands()
