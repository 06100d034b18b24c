"""A gap: lines or a branch that a module's own tests do not reach, named by what stands there.

Line numbers would change with each edit, so a gap is named by the function and the text of its
first line. The lines that follow in the same block belong to it, since they can't be reached
otherwise; a branch is named by the texts of both its ends.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Gap:
    """What is not reached.

    Attributes:
        module: The path in the package.
        line: The number of the first line.
        name: What identifies it in the list of what can't be reached.
        length: How many lines; 0 for a branch.
    """

    module: str
    line: int
    name: str
    length: int = 0


class Source:
    """The text of a module, which names the places in it."""

    def __init__(self, module: str, text: str, functions: Mapping[int, str]) -> None:
        """Take what is known of a module.

        Args:
            module: Its path in the package.
            text: What is written in it.
            functions: The name of the function that a line is in, where it is in one.
        """
        self.module = module
        self.lines = text.splitlines()
        self.functions = functions

    def text(self, line: int) -> str:
        """The line as it is in a name; what is not a line's number is a way out."""
        return self.lines[line - 1].strip() if line > 0 else "(end)"

    def indentation(self, line: int) -> int:
        """The number of columns before a line's text."""
        text = self.lines[line - 1]
        return len(text) - len(text.lstrip())

    def name(self, line: int) -> str:
        """The function, if it is in one, and the text."""
        function = self.functions.get(line)
        return f"{function}: {self.text(line)}" if function else self.text(line)

    def runs(self, missing: Iterable[int], statements: Collection[int]) -> list[Gap]:
        """Join the lines that one could not reach without reaching the first of them.

        Args:
            missing: Numbers of the lines that are not reached.
            statements: Numbers of all lines that could be.
        """
        order = {line: place for place, line in enumerate(sorted(statements))}
        found: list[list[int]] = []
        for line in sorted(missing):
            if (
                found
                and order[line] == order[found[-1][-1]] + 1
                and self.indentation(line) >= self.indentation(found[-1][0])
                and self.functions.get(line) == self.functions.get(found[-1][0])
            ):
                found[-1].append(line)
            else:
                found.append([line])
        return [Gap(self.module, run[0], self.name(run[0]), len(run)) for run in found]

    def branch(self, line: int, to: str) -> Gap:
        """A branch that is not taken."""
        return Gap(self.module, line, f"{self.name(line)} -> {to}")


def unmeasured(module: str) -> Gap:
    """The gap of a module of which no measurement says anything."""
    return Gap(module, 1, "(nothing of it was measured)")
