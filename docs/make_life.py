"""Writes the states of a connection into ``docs/design.md``, from the table that the engine has.

python docs/make_life.py
"""

import re
from pathlib import Path
from typing import Final

from dorrit.engine.life import transitions

PAGE: Final = Path(__file__).with_name("design.md")

_TABLE: Final = re.compile(
    r"(?<=<!-- made by docs/make_life\.py -->\n).*?(?=<!-- to here -->)", re.DOTALL
)


def with_table(page: str) -> str:
    """Put the table where its place is, between two comments.

    Raises:
        ValueError: There is no such place.
    """
    if not _TABLE.search(page):
        raise ValueError("docs/design.md has no place for the states of a connection")
    rows = ["| from | what happens | to | what is done |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {state.upper()} | {event} | {to.upper()} | {action} |"
        for state, event, to, action in transitions()
    ]
    table = "\n".join(["", *rows, "", ""])
    return _TABLE.sub(lambda _: table, page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
