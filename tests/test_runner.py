"""The processes that run the tests: none is lost without a word."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_tests(file: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a file as `make test` runs those here."""
    file.write_text(source)
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *options, file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_ends_its_process_is_named_and_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "test_ends.py"
    ran = run_tests(
        file,
        "import os\n"
        "def test_before(): pass\n"
        f"def test_ends(): os.write(os.open({str(tmp_path / 'ran')!r}, "
        "os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'x'); os._exit(0)\n"
        "def test_after(): pass\n"
        "def test_last(): pass\n",
        "-n2",
    )
    assert ran.returncode == 1, ran.stdout
    assert ran.stdout.count("\nFAILED ") == 1, ran.stdout
    assert "::test_ends - worker 'gw" in ran.stdout
    assert "crashed while running" in ran.stdout
    assert "1 failed, 3 passed" in ran.stdout
    assert (tmp_path / "ran").read_text() == "x"


def test_a_test_that_hangs_is_named(tmp_path: Path) -> None:
    source = "import time\ndef test_hangs(): time.sleep(600)\ndef test_other(): pass\n"
    ran = run_tests(tmp_path / "test_hangs.py", source, "-n2", "-o", "timeout=1")
    assert ran.returncode == 1, ran.stdout
    assert "::test_hangs - Failed: Timeout" in ran.stdout


def test_without_root_what_needs_it_is_skipped_for_that_reason(tmp_path: Path) -> None:
    source = (
        "import os, pytest\n"
        "os.geteuid = lambda: 1000\n"
        "@pytest.mark.root\ndef test_as_root(): raise AssertionError\n"
        "def test_other(): pass\n"
    )
    ran = run_tests(tmp_path / "test_root.py", source, "-rs")
    assert ran.returncode == 0, ran.stdout
    assert "1 passed, 1 skipped" in ran.stdout
    assert "needs root" in ran.stdout
