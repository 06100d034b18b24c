"""What is made from the table of the settings is what the table says."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_settings import MADE, in_mdoc, made

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", MADE)
def test_it_is_what_the_table_says(file: str) -> None:
    assert made(file) == (ROOT / file).read_text(), "run `make docs`"


def test_an_option_without_a_text_for_the_manual_has_the_help_there() -> None:
    assert in_mdoc("with --rfc: bytes, 1 to 2; see --max-message") == (
        "With\n.Fl -rfc :\nbytes, 1 to 2; see\n.Fl -max-message ."
    )


def test_it_is_made_without_a_build() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from docs.make_settings import MADE, made\n"
        "print(len([made(file) for file in MADE]), sys.modules['dorrit'].__dict__.get('Server'))"
    )
    ran = subprocess.run(
        # Without what is installed.
        [sys.executable, "-I", "-S", "-B", "-c", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == (f"{len(MADE)} None\n", "")
