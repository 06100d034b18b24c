"""The rules of prose: what is written keeps to them, and each finds what it is for."""

from pathlib import Path

import pytest

from tests import prose


def test_what_is_written_keeps_to_the_rules() -> None:
    assert prose.all_found() == []


def test_source_tests_and_pages_are_looked_at() -> None:
    names = {str(path.relative_to(prose.ROOT)) for path in prose.files()}
    assert {"README.md", "src/dorrit/errors.py", "tests/conftest.py", "man/dorrit.1"} <= names
    assert {path.suffix for path in prose.files()} >= {".pyx", ".pxd", ".c", ".h", ".md"}
    assert [name for name in names if "node_modules" in name or "corpus" in name] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('    """It."""', '"""It."""'),
        ("            conn: It. `leave` is called for it.", "conn: It."),
        ("        path: Of it.", "path: Of it."),
        ("        loop: It runs.", "loop: It runs."),
        ('raise ValueError(f"{text} is no path")', "is no"),
        ("They were no files.", "were no"),
        ("an engine, which has a function called there", "has a function called"),
        ("as the image of before did", "image of before"),
        ("class Holdings:", "Holdings"),
    ],
)
def test_what_a_rule_is_for_is_found(line: str, words: str) -> None:
    path = Path("src/dorrit/process/files/lock.py")
    (told,) = prose.found(prose.rules(), path, f"first\n{line}\n")
    assert told.startswith(f"{path}:2: {words!r}: write ")


@pytest.mark.parametrize(
    "line",
    [
        "There is no path.",
        "It is no longer there, and no more is known.",
        "It is what it says.",
        "It has been called.",
    ],
)
def test_what_only_looks_like_it_is_not(line: str) -> None:
    assert list(prose.found(prose.rules(), Path("src/dorrit/process/files/lock.py"), line)) == []


def test_a_rule_is_for_its_places_only() -> None:
    line = "it is no path"
    assert list(prose.found(prose.rules(), Path("tests/test_style.py"), line)) == []


def test_an_exception_that_is_one_no_more_is_removed() -> None:
    stale = []
    for rule in prose.rules():
        bare = prose.Rule(rule.pattern, rule.instead, rule.places, ())
        for exception in rule.exceptions:
            paths = [
                path.relative_to(prose.ROOT)
                for path in prose.files()
                if path.is_relative_to(prose.ROOT / exception)
            ]
            texts = ((path, (prose.ROOT / path).read_text()) for path in paths)
            if not any(any(prose.found([bare], path, text)) for path, text in texts):
                stale.append(f"{rule.instead}: {exception}")
    assert stale == []
