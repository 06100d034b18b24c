"""What the C tests reach in the C code: they are compiled by a compiler that has them count."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.coverage import counting_compiler
from tests.coverage.gaps import Gap, Source, unmeasured
from tests.coverage.gcov import read
from tests.coverage.mirror import ROOT, SOURCE
from tests.coverage.runs import KEPT, folder_for_all, pytest

BUILT = ROOT / "build" / "core-tests"


def kept(test: str) -> Path:
    """Where the measurements of a file of tests are."""
    return KEPT / "c" / test.replace("/", "-").removesuffix(".py")


def measure(test: str) -> None:
    """Run a file of tests; the programs that it compiles count."""
    compiler = shutil.which("cc")
    with folder_for_all(kept(test)) as folder, tempfile.TemporaryDirectory() as first:
        script = Path(first) / "cc"
        words = [sys.executable, counting_compiler.__file__, compiler]
        script.write_text(f'#!/bin/sh\nexec {" ".join(map(str, words))} "$@"\n')
        script.chmod(0o755)
        path = f"{first}{os.pathsep}{os.environ['PATH']}"
        strip = str(len(BUILT.parts) - 1)
        environment = {"PATH": path, "GCOV_PREFIX": str(folder), "GCOV_PREFIX_STRIP": strip}
        for data in BUILT.glob("*.gcda"):
            data.unlink()
        try:
            pytest([sys.executable], [test], environment)
        finally:
            # A program that a test gives an environment of its own writes to where it was compiled.
            elsewhere = folder / "elsewhere"
            elsewhere.mkdir()
            for data in BUILT.glob("*.gcda"):
                shutil.move(data, elsewhere)
            for data in folder.rglob("*.gcda"):
                shutil.copy(BUILT / data.with_suffix(".gcno").name, data.parent)


def gaps(modules: Sequence[str], tests: Sequence[str]) -> Iterator[Gap]:
    """What the kept measurements of the tests leave out in modules that have the same tests."""
    data = [path for test in tests for path in sorted(kept(test).rglob("*.gcda"))]
    counts = read(data, ROOT)
    for module in modules:
        found = counts.get(str(SOURCE / module))
        if found is None:
            yield unmeasured(module)
            continue
        source = Source(module, (SOURCE / module).read_text(), found.functions)
        missing = {line for line, count in found.lines.items() if count == 0}
        yield from source.runs(missing, found.lines)
        for line, ways in sorted(found.branches.items()):
            if line not in missing:
                for number, (_, taken) in enumerate(ways, 1):
                    if taken == 0:
                        yield source.branch(line, f"way {number} of {len(ways)}")
