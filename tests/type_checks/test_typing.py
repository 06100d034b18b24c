"""What type checkers know of the public API: mypy --strict and pyright, strict, agree."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dorrit
import dorrit.testing

HERE = Path(__file__).parent
WHOLE = HERE / "whole_api.py"
WRONG = HERE / "wrong_uses.py"
PYRIGHT = HERE.parent / "integration" / "node_modules" / "pyright" / "index.js"


def mypy(file: Path, folder: Path) -> set[int]:
    """The lines in which mypy finds an error."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="),
            f"--cache-dir={folder}",
            file,
        ],
        cwd=folder,  # where there is no source: what is checked is the installed package
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    errors = re.findall(r"^(.*?):(\d+): error: ", result.stdout, re.MULTILINE)
    assert {Path(name).name for name, _ in errors} <= {file.name}, result.stdout
    assert result.returncode == (1 if errors else 0)
    return {int(line) for _, line in errors}


def pyright(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    """What pyright reports, of this interpreter's packages."""
    scripts = Path(sys.executable).parent
    result = subprocess.run(
        ["node", PYRIGHT, "--outputjson", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def pyright_strict(file: Path, folder: Path) -> set[int]:
    """The lines in which pyright finds an error."""
    (folder / file.name).write_text(file.read_text())
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    report = pyright(folder, "--project", folder)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        found["range"]["start"]["line"] + 1
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright_strict])


@CHECKERS
def test_a_program_that_uses_all_of_the_api_is_right(check: Any, tmp_path: Path) -> None:
    assert check(WHOLE, tmp_path) == set()


@CHECKERS
def test_each_wrong_use_is_found_and_nothing_else(check: Any, tmp_path: Path) -> None:
    lines = enumerate(WRONG.read_text().splitlines(), start=1)
    marked = {number for number, line in lines if "# wrong: " in line}
    assert len(marked) > 50
    found = check(WRONG, tmp_path)
    assert sorted(found - marked) == []
    assert sorted(marked - found) == []


def names_in(file: Path, module: str) -> set[str]:
    """The names of a module that a file uses, imported from it or as its attributes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == module:
            names.add(node.attr)
    return names


@pytest.mark.parametrize("module", [dorrit, dorrit.testing])
def test_the_whole_api_is_used(module: Any) -> None:
    assert set(module.__all__) - names_in(WHOLE, module.__name__) == set()


@pytest.mark.parametrize(
    "public",
    [
        dorrit.Connection,
        dorrit.Guest,
        dorrit.Headers,
        dorrit.Peer,
        dorrit.Query,
        dorrit.Request,
        dorrit.Server,
        dorrit.testing.AsyncClient,
        dorrit.testing.AsyncServing,
        dorrit.testing.Client,
        dorrit.testing.Serving,
    ],
)
def test_every_public_method_and_attribute_is_used(public: type) -> None:
    nodes = ast.walk(ast.parse(WHOLE.read_text()))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    # For the server itself, as their docstrings say.
    used |= {"trust", "answered", "agree", "parse", "extensions", "resumed", "head"}
    inherited = {*dir(tuple), *dir(dict)}
    names = {name for name in dir(public) if not name.startswith("_")}
    assert names - used - inherited == set()


def test_every_setting_is_used() -> None:
    source = WHOLE.read_text()
    names = dorrit.ServerSettings.__annotations__
    assert [name for name in names if f'"{name}": ' not in source] == []


def test_every_type_of_the_package_is_known(tmp_path: Path) -> None:
    report = pyright(tmp_path, "--verifytypes", "dorrit", "--ignoreexternal")["typeCompleteness"]
    unknown = [s["name"] for s in report["symbols"] if s["isExported"] and not s["isTypeKnown"]]
    assert unknown == []
    assert report["completenessScore"] == 1
    assert report["exportedSymbolCounts"]["withKnownType"] > 500
    names = {symbol["name"] for symbol in report["symbols"]}
    assert {f"dorrit.{name}" for name in dorrit.__all__} - names == {"dorrit.__version__"}
    assert {f"dorrit.testing.{name}" for name in dorrit.testing.__all__} <= names
