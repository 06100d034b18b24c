"""docs/conformance.md: what all the cases came to, as a table, and what is excluded, and why."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.conformance.expectations import Exclusion, Verdict
from tests.conformance.suite import ROOT

FILE = ROOT / "docs" / "conformance.md"

PAGE = Path(__file__).parent / "page.md"
"""What stands around the tables."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def results_table(columns: Mapping[str, Mapping[str, Counter[Verdict]]]) -> str:
    """Return the table of groups by columns with what their cases came to."""
    groups = sorted({group for verdicts in columns.values() for group in verdicts}, key=int)
    rows = [
        [group, *(_cell(verdicts.get(group, Counter())) for verdicts in columns.values())]
        for group in groups
    ]
    total = [_cell(sum(verdicts.values(), Counter())) for verdicts in columns.values()]
    return _table(["group", *columns], [*rows, ["all", *total]])


def _cell(verdicts: Counter[Verdict]) -> str:
    return ", ".join(f"{verdicts[each]} {each.value}" for each in Verdict if verdicts[each])


def read_results_table(text: str) -> dict[str, dict[str, Counter[Verdict]]]:
    """Return what `results_table` made a table of, and the line ``all`` as a group."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| group \|(?:.*\n)(?:\|.*\n)+", text, re.MULTILINE)[
            0
        ].splitlines()
    ]
    return {
        title: {row[0]: _read_cell(row[place]) for row in rows if row[place]}
        for place, title in enumerate(head)
        if place
    }


def _read_cell(cell: str) -> Counter[Verdict]:
    found = (part.split(" ", 1) for part in cell.split(", "))
    return Counter({Verdict(name): int(count) for count, name in found})


def exclusions_table(exclusions: Iterable[Exclusion]) -> str:
    """Return the table of what is excluded, with the reasons."""
    return _table(
        ["reason", "instead", "number", "cases"],
        (
            [
                each.reason,
                f"dropped with {each.close_code}" if each.close_code else "no answer",
                str(len(each.cases)),
                ", ".join(_ranges(each.cases)),
            ]
            for each in exclusions
        ),
    )


def _ranges(cases: Iterable[str]) -> list[str]:
    """Shorten names that follow each other: 1.1.7, 1.1.8, 1.1.9 to 1.1.7-9."""
    runs: list[tuple[str, int, int]] = []
    for case in cases:
        stem, _, last = case.rpartition(".")
        number = int(last)
        if runs and (runs[-1][0], runs[-1][2] + 1) == (stem, number):
            runs[-1] = (stem, runs[-1][1], number)
        else:
            runs.append((stem, number, number))
    return [f"{stem}.{a}" if a == b else f"{stem}.{a}-{b}" for stem, a, b in runs]


def document(
    versions: str,
    columns: Mapping[str, Mapping[str, Counter[Verdict]]],
    exclusions: Iterable[Exclusion],
) -> str:
    """Return the page."""
    return PAGE.read_text().format(
        versions=versions,
        results=results_table(columns),
        exclusions=exclusions_table(exclusions),
    )
