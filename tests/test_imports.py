"""Imports go one way: between folders, within them, and never in a circle, Python and Cython."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.test_style import ROOT, SRC, check

PACKAGE = SRC / "dorrit"


# Layers


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).parent / "lint-imports"
    return check(script, "--no-cache", folder=root, PYTHONPATH=str(root / "src"))


def test_imports_go_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert re.search(r"^Contracts: [1-9]\d* kept, 0 broken\.$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("module", "wrong", "contract"),
    [
        ("api/find_server.py", "dorrit.cli", "imports go one way"),
        ("drive/choice.py", "dorrit.api.server", "imports go one way"),
        ("dispatch/direct.py", "dorrit.drive.driver", "imports go one way"),
        ("engine/reports.py", "dorrit.drive.serving", "imports go one way"),
        ("engine/reports.py", "dorrit.process.log.log", "imports go one way"),
        ("engine/reports.py", "dorrit.settings", "imports go one way"),
        ("protocol/closing.py", "dorrit.engine.reports", "imports go one way"),
        ("protocol/closing.py", "dorrit.settings", "imports go one way"),
        ("process/start/limits.py", "dorrit.engine.reports", "imports go one way"),
        ("dispatch/direct.py", "dorrit.process.log.log", "process is for those that run a server"),
        ("process/start/limits.py", "dorrit.settings", "imports go one way"),
        ("settings/table.py", "dorrit.engine.limits", "imports go one way"),
        ("process/start/limits.py", "dorrit.protocol.display", "process knows nothing"),
        ("api/reject.py", "dorrit.api.application", "within api"),
        ("drive/driver.py", "dorrit.drive.own_loop", "within drive"),
        ("dispatch/handlers.py", "dorrit.dispatch.direct", "within dispatch"),
        ("process/exec/memfd.py", "dorrit.process.crash.restart", "process: what a server is"),
        ("process/files/lock.py", "dorrit.process.control.status", "process: what a server is"),
        ("process/crash/restart.py", "dorrit.process.exit.leaving", "process: what a server is"),
        ("process/files/lock.py", "dorrit.process.files.listener", "within process.files"),
        ("process/start/limits.py", "dorrit", "nobody imports the package's root"),
    ],
)
def test_an_import_that_goes_the_other_way_is_found(
    tmp_path: Path, module: str, wrong: str, contract: str
) -> None:
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "src" / "dorrit" / module).open("a") as file:
        file.write(f"\n\ndef late():\n    import {wrong}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert re.search(rf"^{contract}.* BROKEN$", result.stdout, re.MULTILINE), result.stdout
    importer = "dorrit." + module.removesuffix(".py").replace("/", ".")
    assert re.search(rf"^- +{importer} -> {wrong} ", result.stdout, re.MULTILINE), result.stdout


def test_the_engines_cython_imports_the_engine_and_the_protocol_alone() -> None:
    found = cython_imports(PACKAGE / "engine")
    below = re.compile(r"dorrit\.((engine|protocol)\.\w|raised$)")
    assert {name for name in found if not below.match(name)} == set()
    assert "dorrit.engine.engine" in found
    assert "dorrit.protocol.handshake" in found


def test_the_dispatchers_cython_imports_no_driver_no_api_and_no_process() -> None:
    found = cython_imports(PACKAGE / "dispatch")
    below = re.compile(r"dorrit\.(dispatch|engine|protocol|raised)\b")
    assert {name for name in found if not below.match(name)} == set()
    assert "dorrit.dispatch.eager" in found


def cython_imports(folder: Path) -> set[str]:
    """What of dorrit the Cython modules in a folder import: import-linter reads Python only."""
    files = [path for path in folder.iterdir() if path.suffix in {".pyx", ".pxd"}]
    return {name for path in files for _, name, _ in imported(path) if name.startswith("dorrit")}


# Circles


def imported(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Return what a file imports: how ("import" or "cimport"), from which module, which names.

    Where an import stands makes no difference: those in functions and those for types count.
    """
    text = path.read_text()
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from (("import", alias.name, []) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None, "imports are absolute"
                yield "import", node.module, [alias.name for alias in node.names]
        return
    text = re.sub(r"\s*\\\n\s*", " ", re.sub(r"#.*", "", text))
    pattern = r"^\s*(?:from ([\w.]+) )?(c?import) (?:\(([^)]*)\)|([^(\n]*))"
    for found in re.finditer(pattern, text, re.MULTILINE):
        names = re.findall(r"[\w.]+", found[3] or found[4])
        if found[1] is None:
            yield from ((found[2], name, []) for name in names)
        else:
            yield found[2], found[1], names


def elsewhere(declarations: Path) -> set[str]:
    """Return the functions that a .pxd only declares: who uses one needs what implements it."""
    text = re.sub(
        r"^cdef extern .*\n(?:(?:[ \t].*)?\n)*", "", declarations.read_text(), flags=re.MULTILINE
    )
    return set(
        re.findall(r"^cp?def (?!.*\binline\b)(?!class\b)[^(\n=]*?(\w+)\(", text, re.MULTILINE)
    )


def graph(package: Path) -> dict[str, set[str]]:
    """Return what each module of a package needs of the others.

    A stub and an implementation are one. Declarations (`some.pxd`) are something of their own, as a
    header of C is; but who uses a function that is only declared there needs the implementation.
    """
    files: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*")):
        if path.suffix in {".py", ".pyi", ".pyx", ".pxd"}:
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            files.setdefault(name + (".pxd" if path.suffix == ".pxd" else ""), []).append(path)
    declared = {name: elsewhere(paths[0]) for name, paths in files.items() if name.endswith(".pxd")}
    found: dict[str, set[str]] = {name: {f"{name}.pxd"} & files.keys() for name in files}
    for name, paths in files.items():
        for how, module, taken in (way for path in paths for way in imported(path)):
            suffix = ".pxd" if how == "cimport" else ""
            inner = {part for part in taken if f"{module}.{part}{suffix}" in files}
            needed = {f"{module}.{part}{suffix}" for part in inner}
            if not taken or len(inner) < len(taken):
                needed.add(module + suffix)
            if declared.get(module + suffix, set()) & set(taken):
                needed.add(module)
            found[name] |= (needed & files.keys()) - {name}
    return found


def circles(imports: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for name in imports:
        seen: set[str] = set()
        waiting = [*imports[name]]
        while waiting:
            if (module := waiting.pop()) not in seen:
                seen.add(module)
                waiting.extend(imports.get(module, ()))
        reached[name] = seen
    found: list[set[str]] = []
    for name in sorted(imports):
        circle = {other for other in reached[name] if name in reached.get(other, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


def test_no_modules_import_each_other() -> None:
    found = graph(PACKAGE)
    assert "dorrit.engine.life" in found["dorrit.engine.connection"]  # by cimport
    # In a function, and for types:
    assert "dorrit.drive.asyncio_driver" in found["dorrit.api.guest"]
    assert circles(found) == []


def test_a_circle_of_python_and_cython_is_found(tmp_path: Path) -> None:
    package = tmp_path / "some"
    package.mkdir()
    (package / "__init__.py").write_text("from some.one import a\n")
    (package / "one.py").write_text("def late():\n    from some import two\n")
    (package / "two.pyx").write_text("from some.three cimport (  # what\n    a,\n    b)\n")
    (package / "three.pxd").write_text("cimport cython\ncdef int a() except -1\n")
    (package / "three.pyx").write_text("from some.four cimport \\\n    b\n")
    (package / "four.pxd").write_text("cdef int b(int length) noexcept\ncdef class Four:\n")
    (package / "four.pyi").write_text("if TYPE_CHECKING:\n    import some.one\n")
    (package / "five.py").write_text("import some.one, some.four\n")
    found = graph(package)
    assert found["some.five"] == {"some.one", "some.four"}
    assert circles(found) == [{"some.one", "some.two", "some.three", "some.four"}]
    # Whoever needs the class alone does not need what implements it.
    (package / "three.pyx").write_text("from some.four cimport Four\n")
    assert circles(graph(package)) == []
