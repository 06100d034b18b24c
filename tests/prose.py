"""Looks for turns of phrase that are not to come back: ``python -m tests.prose``.

tests/prose.toml has them. Spelling is codespell's.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = ROOT / "tests" / "prose.toml"
PLACES = (
    *("src", "docs", "tests", "examples", "man", "packaging", "fuzz", "benchmarks", "conftest.py"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "meson.build"),
)
SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".md", ".1", ".3", ".build", ".conf", ""}
NOT_OURS = {"__pycache__", "node_modules", "corpus"}


@dataclass(frozen=True)
class Rule:
    """One turn of phrase.

    Attributes:
        pattern: What a line of it has.
        instead: What to write.
        places: The folders and files that it is for, from the root of the repository.
        exceptions: Those among them that have it still.
    """

    pattern: re.Pattern[str]
    instead: str
    places: Sequence[str]
    exceptions: Sequence[str]

    def is_for(self, path: Path) -> bool:
        """Whether a file, by its path from the root, is to be free of it."""

        def is_among(places: Sequence[str]) -> bool:
            return any(path.is_relative_to(place) for place in places)

        return is_among(self.places) and not is_among(self.exceptions)


def rules() -> list[Rule]:
    return [
        Rule(
            re.compile(each["pattern"], re.IGNORECASE),
            each["instead"],
            each.get("in", PLACES),
            each.get("except", ()),
        )
        for each in tomllib.loads(RULES.read_text())["rule"]
    ]


def files() -> Iterator[Path]:
    """What is written by hand, but the rules themselves and their test."""
    for place in PLACES:
        for path in [ROOT / place, *sorted((ROOT / place).rglob("*"))]:
            is_ours = not NOT_OURS & set(path.parts) and not path.name.startswith(".")
            is_about_rules = path.stem in {"prose", "test_prose"}
            if path.is_file() and path.suffix in SUFFIXES and is_ours and not is_about_rules:
                yield path


def found(rules: Iterable[Rule], path: Path, text: str) -> Iterator[str]:
    """What the rules have against a file, by its path from the root: a line for each."""
    for rule in rules:
        if rule.is_for(path):
            for number, line in enumerate(text.splitlines(), 1):
                match = rule.pattern.search(line)
                if match:
                    words = match.group().strip()
                    yield f"{path}:{number}: {words!r}: write {rule.instead}"


def spelling() -> list[str]:
    """What codespell finds."""
    places = [place for place in PLACES if (ROOT / place).exists()]
    ran = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *places],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = ran.stdout.splitlines()
    assert bool(ran.returncode) == bool(lines), f"codespell ended with {ran.returncode}"
    return lines


def all_found() -> list[str]:
    known = rules()
    lines = [
        line for path in files() for line in found(known, path.relative_to(ROOT), path.read_text())
    ]
    return [*lines, *spelling()]


if __name__ == "__main__":
    LINES = all_found()
    print(*LINES, sep="\n", end="\n" if LINES else "")
    sys.exit(bool(LINES))
