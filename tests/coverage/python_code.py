"""What tests reach in Python, by coverage.py, in all processes that they start."""

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.coverage.gaps import Gap, Source, unmeasured
from tests.coverage.mirror import ROOT, SOURCE
from tests.coverage.runs import KEPT, folder_for_all, pytest, run

SETTINGS = """\
[run]
branch = true
parallel = true
data_file = {folder}/data
source_pkgs = dorrit
patch = subprocess, execv, _exit
sigterm = true
disable_warnings = module-not-imported, module-not-measured, no-data-collected, couldnt-parse
[paths]
source =
    {source}
    */site-packages/dorrit
[report]
exclude_lines =
    if TYPE_CHECKING:
    ^\\s*(((async )?def .*?)?\\)(\\s*->.*?)?:\\s*)?\\.\\.\\.\\s*(#|$)
"""
"""A process of the tests may end in any way; a message of coverage's own would be in theirs."""

STARTUP = """\
import os
if os.environ.get("COVERAGE_PROCESS_CONFIG"):
    import coverage
    coverage.process_startup()
"""


def kept(test: str) -> Path:
    """Where the measurements of a file of tests are."""
    return KEPT / "python" / test.replace("/", "-").removesuffix(".py")


def measure(test: str) -> None:
    """Run a file of tests, by its path in tests."""
    with folder_for_all(kept(test)) as folder:
        settings = folder / "settings"
        settings.write_text(SETTINGS.format(folder=folder, source=SOURCE))
        python = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}"]
        # For interpreters that are not those of the virtual environment, where coverage.py has a
        # file that does the same.
        (folder / "sitecustomize.py").write_text(STARTUP)
        pytest(python, [test], {"PYTHONPATH": str(folder)})


def functions_of(text: str) -> dict[int, str]:
    """The qualified name of the innermost function that each line is in."""
    found: dict[int, str] = {}

    def visit(node: ast.AST, names: Sequence[str], *, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            below, within = list(names), inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                below.append(child.name)
                within = not isinstance(child, ast.ClassDef)
                if within:
                    for line in range(child.body[0].lineno, (child.end_lineno or 0) + 1):
                        found[line] = ".".join(below)
            visit(child, below, inside=within)

    visit(ast.parse(text), [], inside=False)
    return found


def gaps(modules: Sequence[str], tests: Sequence[str]) -> Iterator[Gap]:
    """What the kept measurements of the tests leave out in modules that have the same tests."""
    folder = KEPT / "report"
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings"
    settings.write_text(SETTINGS.format(folder=folder, source=SOURCE))
    report = folder / "report.json"
    coverage = [sys.executable, "-m", "coverage"]
    data = f"--data-file={folder / 'data'}"
    places = [kept(test) for test in tests if kept(test).exists()]
    if not places:
        yield from map(unmeasured, modules)
        return
    run([*coverage, "combine", "--keep", "-q", f"--rcfile={settings}", data, *places])
    paths = [str(SOURCE / module) for module in modules]
    include = f"--include={','.join(paths)}"
    run([*coverage, "json", "-q", f"--rcfile={settings}", data, include, f"-o{report}"])
    files = json.loads(report.read_text())["files"]
    for path, module in zip(paths, modules, strict=True):
        found = files[str(Path(path).relative_to(ROOT))]
        text = Path(path).read_text()
        source = Source(module, text, functions_of(text))
        missing = set(found["missing_lines"])
        yield from source.runs(missing, missing | set(found["executed_lines"]))
        for line, to in found["missing_branches"]:
            # What leads to a missing line is no gap of its own, nor what comes from one.
            if line not in missing and to not in missing:
                yield source.branch(line, source.text(to))
