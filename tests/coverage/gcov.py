"""What gcov has counted in compiled code."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.coverage.runs import run


@dataclass
class Counts:
    """The counts of one source file.

    Attributes:
        lines: How often each line was run.
        branches: How often each way out of a line was taken, in the compiler's order; the flag says
            that it goes on to the next line.
        functions: The name of the function that each line is in.
    """

    lines: Counter[int] = field(default_factory=Counter)
    branches: dict[int, list[tuple[bool, int]]] = field(default_factory=dict)
    functions: dict[int, str] = field(default_factory=dict)

    def add(self, line: int, count: int, branches: list[tuple[bool, int]]) -> None:
        """Add what another program, or another run, has counted."""
        self.lines[line] += count
        known = self.branches.setdefault(line, branches)
        if known is not branches and len(known) == len(branches):
            self.branches[line] = [
                (falls, before + now)
                for (falls, before), (_, now) in zip(known, branches, strict=True)
            ]


def read(data: Iterable[Path], folder: Path) -> dict[str, Counts]:
    """The counts of all sources, by their paths as the compiler was given them.

    Args:
        data: Files that the programs have written; beside each is what the compiler wrote.
        folder: The folder that the compiler ran in.
    """
    found: dict[str, Counts] = {}
    for path in data:
        # The text that gcov prints may be that of several files, a line for each.
        printed = run(["gcov", "--json-format", "--stdout", "--branch-probabilities", path])
        for document in printed.splitlines():
            for file in json.loads(document)["files"]:
                name = str((folder / file["file"]).resolve())
                counts = found.setdefault(name, Counts())
                for line in file["lines"]:
                    ways = [(way["fallthrough"], way["count"]) for way in line["branches"]]
                    counts.add(line["line_number"], line["count"], ways)
                    if "function_name" in line:
                        counts.functions[line["line_number"]] = line["function_name"]
    return found
