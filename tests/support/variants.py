"""Builds of dorrit with other options, kept in build/variants."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIANTS = ROOT / "build" / "variants"


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
    """Build dorrit with Meson's options; return the directory to import it from."""
    variant = VARIANTS / name
    site = variant / "site"
    python = Path(sys.executable)
    command = [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-input", "--upgrade", "--target", site]
    command += [f"-Cbuild-dir={variant / 'build'}"]
    command += [f"-Csetup-args={option}" for option in options]
    # Meson, Ninja and Cython stand beside the interpreter.
    run([*command, ROOT], PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    return site
