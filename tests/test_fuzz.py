"""The fuzzers of fuzz/, for some seconds: their corpus, and inputs made of it.

`make fuzz` runs them for longer, and lets them look for inputs that reach new code.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.campaign import ROOT, build_clock

CORPUS = ROOT / "fuzz" / "corpus"
COUNTS = {"handshake": 1500, "deflate": 2500, "engine": 1000}

FAULTS = {
    "handshake": (
        "import dorrit.protocol.handshake as module\n"
        "module._check_framing = lambda values, **_: values['host'][0]"
    ),
    "deflate": (
        "import dorrit.protocol.deflate as module\nmodule.Inflator.finish = lambda self, room: b''"
    ),
    "engine": ("import dorrit.protocol.deflate as module\nmodule._TAIL = b'\\xff\\xff'"),
}
"""Faults in what the fuzzers look at, as code that puts them in."""


LARGEST = """
from fuzz.crowd import Largest
print(Largest.clients, Largest.frames, len(Largest.crowds))
"""
"""Prints how large the engine's inputs have been."""


def replay(
    target: str, folder: Path, count: int, fault: str = "", after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a fuzzer's inputs in a process whose clock the fuzzer sets."""
    code = f"{fault}\nfrom fuzz.replay import main\nmain()\n{after}"
    return subprocess.run(
        [sys.executable, "-c", code, target, str(count), folder],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": str(build_clock())},
        capture_output=True,
        text=True,
        check=False,
    )


# Elsewhere LD_PRELOAD is unknown, or ignored for a signed interpreter.
if sys.platform == "linux":

    @pytest.mark.parametrize("target", COUNTS)
    def test_every_input_has_one_of_the_outcomes_that_are_allowed(target: str) -> None:
        after = LARGEST if target == "engine" else ""
        ran = replay(target, CORPUS / target, COUNTS[target], after=after)
        assert ran.returncode == 0, ran.stderr
        inputs, *largest = map(int, ran.stdout.split())
        assert inputs == COUNTS[target] + len(list((CORPUS / target).iterdir()))
        if largest:
            clients, frames, crowds = largest
            assert clients >= 100
            assert frames >= 1000, "of one client, in one read"
            assert crowds >= 10, "crowds of so many sizes"

    @pytest.mark.parametrize("target", FAULTS)
    def test_a_fault_is_found(target: str) -> None:
        ran = replay(target, CORPUS / target, 0, FAULTS[target])
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"{target}, "), ran.stderr
