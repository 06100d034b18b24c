"""What the house rules ask of the source: style, types, size, and that all is installed."""

import ast
import importlib.metadata
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
SCRIPTS = Path(sys.executable).parent


def check(
    *command: str | Path, folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a tool, whose output is one text."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_ruff_has_nothing_to_say() -> None:
    result = check(sys.executable, "-m", "ruff", "check", "--output-format=concise", ".")
    assert result.returncode == 0, result.stdout


def test_every_file_is_formatted() -> None:
    result = check(sys.executable, "-m", "ruff", "format", "--check", ".")
    assert result.returncode == 0, result.stdout


def test_every_type_is_right() -> None:
    result = check(sys.executable, "-m", "mypy")
    assert result.returncode == 0, result.stdout


def test_the_stubs_say_what_the_compiled_modules_have() -> None:
    stubs = sorted(SRC.rglob("*.pyi"))
    assert {path.with_suffix(".pyi") for path in SRC.rglob("*.pyx")} <= set(stubs)
    modules = [".".join(path.relative_to(SRC).with_suffix("").parts) for path in stubs]
    result = check(
        sys.executable,
        "-m",
        "mypy.stubtest",
        *modules,
        "--mypy-config-file=pyproject.toml",
        "--allowlist=tests/stubtest_allowlist.txt",
        MYPYPATH=str(SRC),
    )
    assert result.returncode == 0, result.stdout


# Size and what is installed


def sources() -> list[Path]:
    suffixes = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".js", ".css", ".html"}
    return [path for path in sorted(SRC.rglob("*")) if path.suffix in suffixes]


def test_each_rule_that_does_not_hold_somewhere_has_its_reason_beside_it() -> None:
    bare = re.compile(r"# noqa(?:: [A-Z0-9, ]+)?$", re.MULTILINE)
    assert [path.name for path in sources() if bare.search(path.read_text())] == []


def test_no_file_is_much_longer_than_600_lines() -> None:
    """About 600 are a hint to look whether a file has two jobs."""
    lengths = {path: len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 20
    long = {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 700}
    assert long == {}


def test_every_module_stub_and_marker_is_installed() -> None:
    # Each file stands in a list of meson.build, where it is easily forgotten.
    files = importlib.metadata.files("dorrit")
    assert files is not None
    installed = {str(path) for path in files}
    wanted = {str(path.relative_to(SRC)) for path in sources() if path.suffix in {".py", ".pyi"}}
    wanted.add("dorrit/py.typed")
    assert wanted - installed == set()
    for stub in SRC.rglob("*.pyi"):  # each is of a compiled module
        module = str(stub.relative_to(SRC).with_suffix(""))
        assert [name for name in installed if re.match(rf"{module}\..*so$", name)], module


# Otherwise every other test would prove something about an older dorrit.


def test_what_is_installed_is_this_source() -> None:
    files = importlib.metadata.files("dorrit")
    assert files is not None
    stale = [
        str(path)
        for path in files
        if path.suffix in {".py", ".pyi"}
        and (SRC / path).read_bytes() != Path(str(path.locate())).read_bytes()
    ]
    assert stale == []


def test_what_is_compiled_is_this_source() -> None:
    ninja = check(SCRIPTS / "ninja", "-C", "build/venv", "-n")
    assert ninja.returncode == 0, ninja.stdout
    assert "no work to do" in ninja.stdout
    for stub in SRC.rglob("*.pyi"):  # each is of a compiled module
        module = ".".join(stub.relative_to(SRC).with_suffix("").parts)
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).resolve().is_relative_to(ROOT / "build" / "venv"), module


# Docstrings of compiled modules: what help() says, and what editors and the reference show


def documented(path: Path) -> Iterator[tuple[str, str | None]]:
    """Return the classes and functions of a stub by their names, with their docstrings."""

    def walk(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str | None]]:
        for inner in node.body:
            if isinstance(inner, ast.ClassDef | ast.FunctionDef):
                yield prefix + inner.name, ast.get_docstring(inner)
            if isinstance(inner, ast.ClassDef):
                yield from walk(inner, f"{prefix}{inner.name}.")

    yield from walk(ast.parse(path.read_text()), "")


@pytest.mark.parametrize(
    "stub", sorted(SRC.rglob("*.pyi")), ids=lambda stub: str(stub.relative_to(SRC / "dorrit"))
)
def test_a_compiled_module_and_its_stub_say_the_same(stub: Path) -> None:
    module = importlib.import_module(".".join(stub.relative_to(SRC).with_suffix("").parts))
    texts: dict[str, str | None] = {}
    for name, text in documented(stub):  # one of several overloads has the text
        texts[name] = texts.get(name) or text
    for name, text in texts.items():
        found = module
        for part in name.split("."):
            found = inspect.getattr_static(found, part)
        # The interpreter has words of its own for `__init__` and the like.
        if not re.search(r"\b__\w+__$", name) and found.__doc__ is not None:
            assert inspect.cleandoc(found.__doc__) == text, name
