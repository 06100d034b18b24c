"""The states of a connection: the page has those of the table, and nobody else writes them."""

import re
from pathlib import Path

import pytest

from docs.make_life import PAGE, with_table

ROOT = Path(__file__).parents[2]
WRITTEN = re.compile(r"(?:\.|->)life\s*(?:[-+|&^]|<<|>>)?=(?!=)")


def writers() -> list[str]:
    """The lines of the source that give a connection another state."""
    return [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "src").rglob("*"))
        if path.suffix in {".c", ".h", ".pyx", ".pxd"}
        for line in path.read_text().splitlines()
        if WRITTEN.search(line)
    ]


def test_the_page_has_the_table_of_the_engine() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run `make docs`"


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Design\n")


def test_the_table_is_the_only_one_that_writes_the_life_of_a_connection() -> None:
    assert writers() == ["life.c: connection->life = step.life;"]


@pytest.mark.parametrize(
    "line", ["connection.state.life = DORRIT_OPEN", "c->life=0", "conn.state.life |= 1"]
)
def test_an_assignment_elsewhere_is_found(line: str) -> None:
    assert WRITTEN.search(line)
    assert not WRITTEN.search(line.replace("|=", "==").replace("= ", "== ").replace("=0", "==0"))
