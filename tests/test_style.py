"""What the house rules ask of the source: style, types, layers, size, and that all is installed."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
ENGINE = SRC / "dorrit" / "engine"
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
        timeout=300,
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


# Imports go one way


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    script = SCRIPTS / "lint-imports"
    return check(script, "--no-cache", folder=root, PYTHONPATH=str(root / "src"))


def test_imports_go_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert re.search(r"^Contracts: [1-9]\d* kept, 0 broken\.$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("module", "wrong", "contract"),
    [
        ("api/loader.py", "dorrit.cli", "imports go one way"),
        ("engine/reports.py", "dorrit.api.serving", "imports go one way"),
        ("protocol/closing.py", "dorrit.engine.reports", "imports go one way"),
        ("process/limits.py", "dorrit.engine.reports", "process knows nothing of the engine"),
        ("engine/reports.py", "dorrit.process.log", "the engine knows nothing of the process"),
        ("protocol/closing.py", "dorrit.settings", "the engine knows nothing of the process"),
        ("settings/table.py", "dorrit.engine.limits", "the settings know only what they may be"),
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


def cython_imports(folder: Path) -> set[str]:
    """What of dorrit the Cython modules in a folder import: import-linter reads Python only."""
    return {
        name
        for path in [*folder.glob("*.pyx"), *folder.glob("*.pxd")]
        for name in re.findall(
            r"^\s*(?:from|c?import) (dorrit[\w.]*)", path.read_text(), re.MULTILINE
        )
    }


def test_the_engines_cython_imports_the_engine_and_the_protocol_alone() -> None:
    found = cython_imports(ENGINE)
    assert {
        name for name in found if not re.match(r"dorrit\.((engine|protocol)\.\w|raised$)", name)
    } == set()
    assert "dorrit.engine.engine" in found
    assert "dorrit.protocol.handshake" in found


def test_the_apis_cython_imports_no_command_and_no_process() -> None:
    found = cython_imports(SRC / "dorrit" / "api")
    below = re.compile(r"dorrit\.(api|engine|protocol|raised)\b")
    assert {name for name in found if not below.match(name)} == set()
    assert "dorrit.api.eager" in found


# Size and what is installed


def sources() -> list[Path]:
    suffixes = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".js", ".css", ".html"}
    return [path for path in sorted(SRC.rglob("*")) if path.suffix in suffixes]


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
