"""``pip install .`` for each Python there is, into an environment that has nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import machines_network
from tests.support.servers import Servers

ROOT = Path(__file__).parents[1]

NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".*_cache", ".hypothesis"
)

# Building takes the headers, and an environment takes pip.
PROBE = """\
import ensurepip, os, sys, sysconfig, venv
if sys.version_info >= (3, 11) and sys.implementation.name == "cpython":
    if os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        print("%d.%d" % sys.version_info[:2])
"""


def version_of(python: Path) -> str:
    """The version of an interpreter with which dorrit can be built, else nothing."""
    probe = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
    return probe.stdout.strip()


def interpreters() -> dict[str, Path]:
    """One interpreter of each version, the one that runs the tests before others of its version."""
    places = [Path(place) for place in os.get_exec_path()]
    candidates = sorted(Path.home().glob(".pyenv/versions/*/bin/python3.??"))
    candidates += [python for place in places for python in sorted(place.glob("python3.??"))]
    found = {version_of(Path(sys.executable)): Path(sys.executable)}
    for python in candidates:
        version = version_of(python)
        if version:
            found.setdefault(version, python)
    return found


INTERPRETERS = interpreters()


def run(*command: object, cwd: Path, env: dict[str, str]) -> str:
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        preexec_fn=machines_network(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_the_python_that_runs_the_tests_is_among_those_that_dorrit_is_installed_for() -> None:
    assert "%d.%d" % sys.version_info[:2] in INTERPRETERS  # noqa: UP031 - as the probe does it


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", sorted(INTERPRETERS))
def test_pip_installs_it_and_the_example_runs(
    tmp_path: Path, servers: Servers, version: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    # Nothing of the environment that runs the tests may help.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env["PATH"] = os.defpath + os.pathsep + "/usr/local/bin"
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    venv = tmp_path / "venv"
    run(INTERPRETERS[version], "-m", "venv", venv, cwd=tmp_path, env=env)
    python = venv / "bin" / "python"
    # Other interpreters have other headers. What the optimizer makes of it, all other tests run.
    options = ["--quiet", "-Csetup-args=-Doptimization=0"]
    run(python, "-m", "pip", "install", *options, source, cwd=tmp_path, env=env)

    shown = run(python, "-c", "import dorrit, sys; print(dorrit.__file__, *sys.version_info[:2])",
                cwd=tmp_path, env=env)  # fmt: skip
    file, major, minor = shown.split()
    assert Path(file).is_relative_to(venv)
    assert f"{major}.{minor}" == version

    command = venv / "bin" / "dorrit"
    example = ROOT / "examples" / "echo.py"
    server = servers.start(command, "serve", example, "-x", "-l", servers.path, env=env)
    server.until_listening()
    client = servers.connect()
    assert client.ask("grüße") == "grüße"
    client.send(bytes(range(256)) * 255)
    assert client.receive().payload == bytes(range(256)) * 255
    client.close()
    assert servers.stop(server) == 0
    assert not servers.path.exists()
