"""What is missing is said in one line, before or instead of the tests that need it."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

import conftest
from tests.support.programs import NEEDED, TESTS
from tests.test_runner import run_tests


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have packages seem not to be installed."""
    distribution = importlib.metadata.distribution

    def found(name: str) -> importlib.metadata.Distribution:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr("importlib.metadata.distribution", found)


def message(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config, *tests: str) -> str:
    monkeypatch.setattr(pytestconfig, "args", [str(TESTS.parent / test) for test in tests])
    with pytest.raises(pytest.UsageError) as raised:
        conftest.pytest_configure(pytestconfig)
    (text,) = str(raised.value).splitlines()
    return text


def test_the_packages_that_are_missing_are_named_with_what_to_run(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    without(monkeypatch, "playwright", "h11")
    text = message(monkeypatch, pytestconfig, "tests")
    assert text.startswith("the tests need h11, playwright: run `sh tests/install --pypi ")
    assert text.endswith("; `make t` runs those that need less")


def test_portable_tests_need_less(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    without(monkeypatch, "playwright", "h11")
    portable = ("tests/engine/test_queue.py::test_it", "tests/protocol")
    text = message(monkeypatch, pytestconfig, *portable)
    assert text.startswith("the tests need h11: run ")
    assert text.endswith("python`")
    monkeypatch.undo()
    without(monkeypatch, "playwright")
    monkeypatch.setattr(pytestconfig, "args", [str(TESTS.parent / test) for test in portable])
    conftest.pytest_configure(pytestconfig)


def test_what_portable_tests_import_is_among_what_they_need() -> None:
    names = {name.replace("-", "_") for name in conftest.required("portable-requirements.txt")}
    others = {name.replace("-", "_") for name in conftest.required("requirements.txt")}
    files = [path for place in conftest.portable() for path in (place, *place.rglob("*.py"))]
    imported = set()
    for path in files:
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    assert {"h11", "hypothesis", "websockets", "wsproto", "pytest"} <= imported & names
    assert imported & others == set()


def test_a_test_without_its_program_is_skipped_for_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    source = (
        "import pytest\n"
        "@pytest.mark.needs('sh')\ndef test_there(): pass\n"
        "@pytest.mark.needs('sh', 'no-such-program')\ndef test_lacking(): raise AssertionError\n"
    )
    ran = run_tests(tmp_path / "test_programs.py", source, "-rs")
    assert "1 passed, 1 skipped" in ran.stdout
    assert "needs no-such-program: run sh tests/install" in ran.stdout


def test_continuous_integration_skips_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    source = (
        "import pytest\n"
        "@pytest.mark.needs('no-such-program')\ndef test_lacking(): raise AssertionError\n"
    )
    ran = run_tests(tmp_path / "test_programs.py", source)
    assert "1 failed" in ran.stdout


def test_each_place_whose_tests_need_something_exists() -> None:
    assert [place for place in NEEDED if not (TESTS / place).exists()] == []
