"""The Autobahn Testsuite as a program: which cases it has, and one run of some of them."""

import functools
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "build" / "conformance" / "autobahn"

PRINT_CASES = """\
from autobahntestsuite.case import CaseBasename, Cases
for case in Cases:
    print(case.__name__[len(CaseBasename):].replace("_", "."))
"""

PRINT_VERSION = "import autobahntestsuite; print(autobahntestsuite.version)"


def _ask_python(code: str) -> str:
    python = ENVIRONMENT / "bin" / "python"
    assert python.exists(), f"{python} is not installed; run tests/install"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout


def version() -> str:
    """Return the release of the suite."""
    return _ask_python(PRINT_VERSION).strip()


@functools.cache
def all_cases() -> tuple[str, ...]:
    """Return the name of each case that the suite has, such as ``1.1.1``, in its order."""
    return tuple(_ask_python(PRINT_CASES).split())


def group_of(case: str) -> str:
    """Return the first number of a case's name."""
    return case.partition(".")[0]


def in_groups(groups: Iterable[int]) -> tuple[str, ...]:
    """Return the cases of some groups."""
    wanted = {str(group) for group in groups}
    return tuple(case for case in all_cases() if group_of(case) in wanted)


def run(agent: str, url: str, cases: Sequence[str], folder: Path, *, seconds: float) -> Path:
    """Have the suite play the client in some cases, one after the other.

    Args:
        agent: What the server is called in the report.
        url: Its address.
        cases: The names of the cases.
        folder: An empty folder for the specification and the report.
        seconds: When to give up.

    Returns:
        The report's folder.

    Raises:
        AssertionError: The suite failed; the message is what it said.
    """
    report = folder / "report"
    specification = folder / "fuzzingclient.json"
    servers = [{"agent": agent, "url": url}]
    specification.write_text(
        json.dumps({"outdir": str(report), "servers": servers, "cases": list(cases)})
    )
    wstest = ENVIRONMENT / "bin" / "wstest"
    output = folder / "wstest.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [wstest, "--mode", "fuzzingclient", "--spec", specification],
            cwd=folder,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"wstest did not end within {seconds:g} seconds\n{_end_of(output)}"
            ) from None
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
    assert status == 0, f"wstest exited with {status}\n{_end_of(output)}"
    assert (report / "index.json").exists(), f"wstest left no report\n{_end_of(output)}"
    return report


def _end_of(output: Path) -> str:
    return output.read_text(errors="backslashreplace")[-4000:]
