"""The modules that are quickly measured are reached by their own tests; `make coverage` has all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

QUICK = ["protocol/*", "settings/*", "errors.py"]


@pytest.mark.timeout(1200)
def test_the_protocol_and_the_settings_are_reached_by_their_own_tests() -> None:
    measured = subprocess.run(
        [sys.executable, "-m", "tests.coverage", *QUICK],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert measured.returncode == 0, measured.stdout
    assert measured.stdout == ""
