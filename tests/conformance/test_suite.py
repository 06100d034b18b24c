"""What is said when the suite can't be run."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import suite
from tests.conformance.expectations import Expectations
from tests.conformance.results import read_report
from tests.integration.processes import find_program

INSTALL = Path(__file__).parent / "install"


def test_a_server_that_is_not_there_leaves_cases_that_were_not_run(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}/"
        report = suite.run("nobody", url, ["1.1.1", "1.1.2"], tmp_path, seconds=30)
    results = read_report(report, "nobody")
    complaints = Expectations((), deflate=False).complaints(["1.1.1", "1.1.2"], results)
    assert complaints == ["1.1.1: was not run", "1.1.2: was not run"]


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(AssertionError, match=r"did not end within 0\.5 seconds"):
            suite.run("silent", url, ["1.1.1"], tmp_path, seconds=0.5)


def test_a_suite_that_fails_is_heard(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)wstest exited with 1.*no-address"):
        suite.run("nobody", "no-address", ["1.1.1"], tmp_path, seconds=30)


def install(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_program("sh"), script, sys.executable],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_installed_is_not_installed_again() -> None:
    ran = install(INSTALL)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_python_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    # In another tree, where nothing is installed, and where no Python 2.7 is to be found.
    script = tmp_path / "tests" / "conformance" / "install"
    script.parent.mkdir(parents=True)
    shutil.copy(INSTALL, script)
    shutil.copy(INSTALL.with_name("requirements.txt"), script.parent)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cmp", "dirname"):
        (programs / name).symlink_to(find_program(name))
    ran = install(script, PATH=str(programs), HOME=str(tmp_path), PYENV_ROOT=str(tmp_path))
    assert ran.returncode == 1
    assert ran.stderr == (
        "tests/conformance/install: the Autobahn Testsuite runs on Python 2.7 only, and there is "
        "none: neither python2.7 in PATH nor pyenv's (pyenv install 2.7.18)\n"
    )
    assert not (tmp_path / "build").exists()


def test_the_script_is_right_in_any_shell() -> None:
    ran = subprocess.run(
        ["shellcheck", "--shell=sh", INSTALL], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
