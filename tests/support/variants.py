"""Builds of dorrit with other options, each kept in build/variant-NAME."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = ROOT / "build" / "venv"
"""Where `make build` has compiled what the virtual environment imports."""


def folder_of(name: str) -> Path:
    """Where a variant is compiled: as deep as what it begins with, since paths are relative."""
    return ROOT / "build" / f"variant-{name}"


def run(command: Sequence[object], **environment: str) -> str:
    """Run a command, whose output is shown if it fails, and return what it prints."""
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        pytest.fail(f"{command} returned {ran.returncode}:\n{ran.stdout}", pytrace=False)
    return ran.stdout


def build(name: str, *options: str) -> Path:
    """Build dorrit with Meson's options; return the directory to import it from.

    The first build of a variant begins with what `make build` has made, so that nothing is compiled
    again that is the same in both: what Cython has written, and all but the poller for kqueue.
    """
    folder = folder_of(name)
    if not folder.exists() and (OWN / "build.ninja").exists():
        begun = folder.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        shutil.copytree(OWN, begun, symlinks=True)
        begun.rename(folder)
    site = folder / "site"
    python = Path(sys.executable)
    command = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-input", "--upgrade", "--target", site]
    command += [f"-Cbuild-dir={folder}"]
    command += [f"-Csetup-args={option}" for option in options]
    # Meson, Ninja and Cython stand beside the interpreter.
    run([*command, ROOT], PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    return site
