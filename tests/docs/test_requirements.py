"""The page of the requirements is the key to their numbers, and users meet none of them."""

import contextlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dorrit
import dorrit.testing
from docs.make_requirements import (
    NUMBER,
    PAGE,
    ROOT,
    numbers_in,
    requirements,
    with_tests,
)
from dorrit import cli

USERS_PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("tutorial", "how-to", "live", "security")),
    *(ROOT / "docs" / "reference").iterdir(),
    *(ROOT / "man").iterdir(),
    *(path for path in (ROOT / "packaging").rglob("*") if path.is_file() and path.suffix != ".pyc"),
    *(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".py", ".html"}),
]


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])[RLWO][1-9]\d?(?!\w)", text)


# The page


def test_it_explains_r1_to_r38_and_every_number_that_the_source_names() -> None:
    listed = requirements(PAGE.read_text())
    assert len(listed) == len(set(listed))
    assert [number for number in listed if number[0] == "R"] == [f"R{n}" for n in range(1, 39)]
    named = numbers_in("src", "tests", "fuzz", "docs", "benchmarks")
    assert set(named) - set(listed) == set()
    prose = {
        number for path in (ROOT / "docs").rglob("*.md") for number in numbers(path.read_text())
    }
    assert prose - set(listed) == set()


def test_its_tests_are_those_that_name_the_number() -> None:
    assert PAGE.read_text() == with_tests(PAGE.read_text()), "run `make docs`"


def test_each_test_that_it_names_exists() -> None:
    files = re.findall(r"`([\w/]+\.(?:py|c))`", PAGE.read_text())
    assert len(files) > 200
    assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []


def test_a_number_without_a_test_is_an_error() -> None:
    with pytest.raises(ValueError, match="no test names O99"):
        with_tests("- **O99** It does.\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def test_R21_what_is_sent", ["R21"]),
        ("# R2, (L5): and R38's, R7 to O11", ["R2", "L5", "R38", "R7", "O11"]),
        ("cc -O2, HR12, R0, R123, utf8R1x, goto __pyx_L1_error", []),
    ],
)
def test_a_number_is_found_in_prose_and_in_names(text: str, found: list[str]) -> None:
    assert NUMBER.findall(text) == found


# What users read has no numbers


@pytest.mark.parametrize("page", USERS_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_for_users_names_no_requirement(page: Path) -> None:
    assert numbers(page.read_text()) == []


@pytest.mark.parametrize(
    "command", ["", "serve", "check", "dev", "status", "stop", "restart", "reload"]
)
def test_no_help_of_a_command_names_one(command: str) -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        cli.main([*command.split(), "--help"])
    assert shown.getvalue().startswith("usage: dorrit")
    assert numbers(shown.getvalue()) == []


def docstrings(thing: object) -> Iterator[str]:
    yield inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        for member in vars(thing).values():
            yield inspect.getdoc(member) or ""


@pytest.mark.parametrize("module", [dorrit, dorrit.testing])
def test_no_docstring_of_a_public_name_names_one(module: object) -> None:
    found = list(docstrings(module))
    for name in module.__all__:  # type: ignore[attr-defined]
        found += docstrings(getattr(module, name))
    assert len(found) > 40
    assert [text for text in found if numbers(text)] == []
