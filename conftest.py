"""Before any test is collected: the source is compiled, and what the tests import is there.

Says in one line what to do otherwise; tests/conftest.py and all that it imports come afterwards.
"""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
INSTALL = "sh tests/install --pypi"


def required(file: str) -> list[str]:
    """The names of the packages in a file of requirements, without those of files that it names."""
    lines = (ROOT / "tests" / file).read_text().splitlines()
    return [re.split(r"[^\w-]", line)[0] for line in lines if re.match(r"\w", line)]


def missing(file: str) -> list[str]:
    """Those of them that are not installed."""

    def is_there(name: str) -> bool:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return True

    return [name for name in required(file) if not is_there(name)]


def portable() -> list[Path]:
    """The files and folders of tests that need no more than tests/portable-requirements.txt."""
    return [ROOT / line for line in (ROOT / "tests" / "portable.txt").read_text().split()]


def are_portable(paths: list[Path]) -> bool:
    """Whether all of some tests are among those."""
    places = portable()
    return all(any(path.is_relative_to(place) for place in places) for path in paths)


def pytest_configure(config: pytest.Config) -> None:
    """Look whether what is to be collected can be imported."""
    python = Path(sys.executable)
    install = f"{INSTALL} {python.relative_to(ROOT) if python.is_relative_to(ROOT) else python}"
    lacking = missing("portable-requirements.txt")
    # An argument may name a test in a file.
    paths = [Path(config.invocation_params.dir, each.partition("::")[0]) for each in config.args]
    if not are_portable(paths):
        lacking += missing("requirements.txt")
    if lacking:
        alternative = "" if are_portable(paths) else "; `make t` runs those that need less"
        message = f"the tests need {', '.join(lacking)}: run `{install}`{alternative}"
        raise pytest.UsageError(message)


# A build with other options, which tests/test_variants.py has made, is first in PYTHONPATH.
_SPEC = importlib.util.find_spec("dorrit")
_IS_LINKED = _SPEC is None or Path(str(_SPEC.origin)).is_relative_to(ROOT / ".venv")
if _IS_LINKED and "PYTEST_XDIST_WORKER" not in os.environ:
    command = [sys.executable, ROOT / "packaging" / "editable.py"]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("the tests need the source to compile")
if importlib.util.find_spec("dorrit") is None:
    sys.exit("the tests need dorrit itself: run `make build`")
