"""Python code that runs in a process of its own, since it changes what a process has only once."""

import os
import subprocess
import sys
import textwrap

NOBODY = 65534

BEGINNING = f"""\
import logging, os, resource, signal, sys
from dorrit.errors import StartError
from dorrit.process.control import signals
from dorrit.process.files import listener
from dorrit.process.log import log
from dorrit.process.start import limits
from dorrit.process.files.listener import Listener

def become_nobody():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})

"""


def run_python(code: str, *arguments: str | os.PathLike[str]) -> str:
    """Run code that finds dorrit's process modules imported; return what it prints.

    `become_nobody()` gives up root's privileges, if there are any.
    """
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            BEGINNING + textwrap.dedent(code),
            *[os.fspath(argument) for argument in arguments],
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return str(process.stdout)
