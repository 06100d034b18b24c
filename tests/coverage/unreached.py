"""The list of what can't be reached, with the reasons, and whether it is right."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.coverage.gaps import Gap
from tests.coverage.mirror import ROOT, SOURCE

LIST = Path(__file__).parent / "unreached.toml"
PAGE = ROOT / "docs" / "coverage.md"
HEADING = "| module | what | why |\n| --- | --- | --- |\n"
OUT = re.compile(r"\(end\)|\(untrue\)|way \d+ of \d+")
"""Where a branch leads to, if not to a line."""


@dataclass(frozen=True)
class Entry:
    """A gap that is known.

    Attributes:
        module: The path in the package.
        gap: Its name.
        why: Why no test reaches it, in a sentence.
        times: How many places in the module have this name and are not reached.
    """

    module: str
    gap: str
    why: str
    times: int = 1


def entries(text: str) -> list[Entry]:
    """Read the list: for each module an array of tables, each of which has gaps and one reason.

    Raises:
        ValueError: An entry has no reason, or stands there twice.
    """
    found = [
        Entry(module, gap, fields["why"], fields.get("times", 1))
        for module, of_module in tomllib.loads(text).items()
        for fields in of_module
        for gap in fields["gaps"]
    ]
    for entry in found:
        if not entry.why.strip().endswith("."):
            raise ValueError(f"{entry.module}: {entry.gap!r} has no sentence that says why")
    for (module, gap), times in Counter((entry.module, entry.gap) for entry in found).items():
        if times > 1:
            raise ValueError(f"{module}: {gap!r} stands in the list {times} times")
    return found


def complaints(gaps: Iterable[Gap], known: Iterable[Entry], modules: Collection[str]) -> list[str]:
    """What the list does not know, and what it knows wrongly.

    Args:
        gaps: What was found.
        known: The list.
        modules: The modules that were measured; of others nothing can be said.
    """
    found = list(gaps)
    there = Counter((gap.module, gap.name) for gap in found)
    expected = {(entry.module, entry.gap): entry.times for entry in known}
    said = [
        f"{gap.module}:{gap.line}: not reached"
        + (f" ({gap.length} lines)" if gap.length > 1 else "")
        + f", and not in the list: gap = {json.dumps(gap.name, ensure_ascii=False)}"
        for gap in sorted(found)
        if (gap.module, gap.name) not in expected
    ]
    for (module, name), times in expected.items():
        if module in modules and there[module, name] != times:
            said.append(
                f"{module}: the list has {name!r} {times} times as not reached, "
                f"which it is {there[module, name]} times"
            )
    return said


def names_nothing(entry: Entry) -> bool:
    """Whether an entry is out of date, which can be seen without a measurement: its module has no
    such function or line, or none that the branch leads to."""
    path = SOURCE / entry.module
    if not path.is_file():
        return True
    text = path.read_text()
    lines = {line.strip() for line in text.splitlines()}

    def stands_there(name: str) -> bool:
        function, _, line = name.partition(": ")
        return name in lines or (
            line in lines
            and all(re.search(rf"\b{re.escape(word)}\b", text) for word in function.split("."))
        )

    if stands_there(entry.gap):
        return False
    name, _, to = entry.gap.rpartition(" -> ")
    return not (stands_there(name) and (to in lines or OUT.fullmatch(to)))


def table(known: Iterable[Entry]) -> str:
    """The list as a table of the documentation; entries with one reason are one line."""
    rows: dict[tuple[str, str], list[str]] = {}
    for entry in known:
        rows.setdefault((entry.module, entry.why), []).append(f"`{entry.gap}`")
    lines = (
        f"| {module} | {'<br>'.join(gaps)} | {why} |".replace("||", "\\|\\|")
        for (module, why), gaps in rows.items()
    )
    return HEADING + "".join(f"{line}\n" for line in lines)


def with_table(page: str, known: Iterable[Entry]) -> str:
    """The page of the documentation with the table at its end."""
    return page.partition(HEADING)[0] + table(known)
