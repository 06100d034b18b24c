"""What tests reach in Cython, and in the C that it is linked with: a build that counts.

coverage.py can trace Cython's lines, but slowly, not those that run without the interpreter, and
no branches. gcov counts in the C code that Cython writes, in which a comment before each statement
says where it is from.
"""

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.coverage.gaps import Gap, Source, unmeasured
from tests.coverage.gcov import Counts, read
from tests.coverage.mirror import SOURCE
from tests.coverage.runs import KEPT, folder_for_all, pytest
from tests.support.variants import build, folder_of

COUNTING = (
    "-Dinvariants=true",
    "-Db_coverage=true",
    "-Dbuildtype=debug",
    "-Doptimization=0",
    "-Dwerror=false",
)
BUILT = folder_of("counting")

_STATEMENT = re.compile(r'^\s*/\* "(dorrit/[\w/.]+)":(\d+)$')
_CONDITION = re.compile(r"^\s*if \((?:(?:un)?likely\()?\(?__pyx_t_\d+\)* \{$")
_DECLARATION = re.compile(r"\s*(?:cdef |cpdef |@|def |class )(?!.* = )")
"""What stands in C where a function is left, or what Cython has made by itself."""
_TEST = re.compile(r"\s*(?:if|elif)\b")
_HEAD = re.compile(r"\s*(?:(?:cdef |cpdef )?class (\w+)|(?:cdef|cpdef|def)\b[^=(]*?(\w+)\()")


def kept(test: str) -> Path:
    """Where the measurements of a file of tests are."""
    return KEPT / "cython" / test.replace("/", "-").removesuffix(".py")


def build_that_counts() -> Path:
    """Build it; return the directory to import it from."""
    return build("counting", *COUNTING)


def measure(test: str, site: Path) -> None:
    """Run a file of tests with the build that counts."""
    with folder_for_all(kept(test)) as folder:
        strip = str(len(BUILT.parts) - 1)
        environment = {
            "PYTHONPATH": str(site), "GCOV_PREFIX": str(folder), "GCOV_PREFIX_STRIP": strip,
        }  # fmt: skip
        pytest([sys.executable], [test], environment)


@dataclass
class Reached:
    """What is known of a module.

    Attributes:
        lines: Whether each statement was reached.
        untrue: Whether each condition was untrue at least once.
    """

    lines: dict[int, bool] = field(default_factory=dict)
    untrue: dict[int, bool] = field(default_factory=dict)


def statements(text: str, counts: Counts) -> Iterator[tuple[str, int, bool, bool | None]]:
    """The statements in C code of Cython's.

    Yields:
        The path of the module, the line, whether it was reached, and, for a condition, whether it
        was untrue at least once.
    """
    place: tuple[str, int] | None = None
    reached: bool | None = None
    untrue: bool | None = None
    in_comment = False
    for number, line in enumerate(text.splitlines(), 1):
        start = _STATEMENT.match(line)
        if start:
            if place is not None and reached is not None:
                yield *place, reached, untrue
            place, reached, untrue = (start[1], int(start[2])), None, None
            in_comment = True
        elif in_comment:
            in_comment = not line.strip().endswith("*/")
        elif place is not None:
            if line.startswith("}"):
                if reached is not None:
                    yield *place, reached, untrue
                place = None
            if reached is None and number in counts.lines:
                reached = counts.lines[number] > 0
            # The last one: those before are of the parts of `and` and `or`.
            if _CONDITION.match(line) and (ways := counts.branches.get(number)):
                untrue = any(count for falls_through, count in ways if not falls_through)
    if place is not None and reached is not None:
        yield *place, reached, untrue


def functions_of(text: str) -> dict[int, str]:
    """The name of the function that each line is in, with that of its class."""
    found: dict[int, str] = {}
    open_names: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        while open_names and depth <= open_names[-1][0] and not line.lstrip().startswith(")"):
            open_names.pop()
        if open_names:
            found[number] = ".".join(name for _, name in open_names)
        if head := _HEAD.match(line):
            open_names.append((depth, head[1] or head[2]))
    return found


def reached_by(tests: Sequence[str]) -> dict[str, Reached]:
    """What the kept measurements of the tests say of each module, by its path below src."""
    found: defaultdict[str, Reached] = defaultdict(Reached)
    for test in tests:
        data = sorted(kept(test).rglob("*.pyx.c.gcda"))
        for path in data:
            notes = BUILT / path.relative_to(kept(test)).with_suffix(".gcno")
            shutil.copy(notes, path.parent)
        for name, counts in read(data, BUILT).items():
            if name.endswith(".pyx.c"):
                for module, line, is_reached, untrue in statements(Path(name).read_text(), counts):
                    of_module = found[module]
                    of_module.lines[line] = of_module.lines.get(line, False) or is_reached
                    if untrue is not None:
                        of_module.untrue[line] = of_module.untrue.get(line, False) or untrue
    return found


def gaps(modules: Sequence[str], tests: Sequence[str]) -> Iterator[Gap]:
    """What the kept measurements of the tests leave out in modules that have the same tests."""
    reached = reached_by(tests)
    for module in modules:
        if f"dorrit/{module}" not in reached:
            yield unmeasured(module)
            continue
        found = reached[f"dorrit/{module}"]
        text = (SOURCE / module).read_text()
        source = Source(module, text, functions_of(text))
        lines = {line for line in found.lines if not _DECLARATION.match(source.lines[line - 1])}
        missing = {line for line in lines if not found.lines[line]}
        yield from source.runs(missing, lines)
        for line, untrue in sorted(found.untrue.items()):
            if not untrue and line not in missing and _TEST.match(source.lines[line - 1]):
                yield source.branch(line, "(untrue)")
