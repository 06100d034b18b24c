"""Writes into ``docs/requirements.md`` which tests show each requirement.

    python docs/make_requirements.py

A test shows a requirement if its file names the requirement's number: `test_R21_…`, or `R21` in a
comment.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "requirements.md"

OWN_TESTS: Final = ROOT / "tests" / "docs" / "test_requirements.py"
"""They name numbers that there are not."""

NUMBER: Final = re.compile(r"(?<![A-Za-z0-9-])(?<!__pyx_)[RLWOT][1-9]\d?(?![A-Za-z0-9])")
"""As it stands in prose and in names of tests; `-O2` is a compiler's option, `__pyx_L1_` a label of
Cython's."""

_ENTRY: Final = re.compile(
    r"""
    ^(?P<text>
        -\ \*\*(?P<number>[RLWOT]\d+)\*\*\ .*\n
        (?:\ \ (?!Tests:).*\n)*
    )
    (?:\ \ Tests:.*\n(?:\ \ .*\n)*)?
    """,
    re.MULTILINE | re.VERBOSE,
)


def numbers_in(*folders: str) -> Mapping[str, list[Path]]:
    """Find the numbers that the source names, each with its files.

    Args:
        folders: Where to look, from the root of the repository.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(_sources(folders)):
        for number in sorted(set(NUMBER.findall(path.read_text()))):
            found.setdefault(number, []).append(path.relative_to(ROOT))
    return found


def _sources(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        for suffix in ("py", "pyi", "pyx", "pxd", "c", "h"):
            for path in (ROOT / folder).rglob(f"*.{suffix}"):
                if path != OWN_TESTS and "node_modules" not in path.parts:
                    yield path


def tests_of() -> Mapping[str, list[Path]]:
    """Find the files of tests that name each requirement."""
    named = numbers_in("tests")
    return {
        number: [path for path in paths if path.name.startswith("test_")]
        for number, paths in named.items()
    }


def with_tests(page: str) -> str:
    """Write the lines of tests anew.

    Args:
        page: The page as it is.

    Raises:
        ValueError: A requirement has no test.
    """
    tests = tests_of()

    def entry(match: re.Match[str]) -> str:
        paths = tests.get(match["number"])
        if not paths:
            message = f"no test names {match['number']}"
            raise ValueError(message)
        names = ", ".join(f"`{path.relative_to('tests')}`" for path in paths)
        line = textwrap.fill(
            f"Tests: {names}.",
            width=120,
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return f"{match['text']}{line}\n"

    return _ENTRY.sub(entry, page)


def requirements(page: str) -> list[str]:
    """List the numbers that the page explains, in its order.

    Args:
        page: Its text.
    """
    return [match["number"] for match in _ENTRY.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(with_tests(PAGE.read_text()))
