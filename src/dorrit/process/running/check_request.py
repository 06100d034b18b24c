"""Has the command that starts a server only look for mistakes: before a restart or a reload (O4).

The command is run as it stands, with a variable in its environment, so that it finds the same file,
the same options and the same Python as the start that is to follow. The variable names a descriptor
that the word of success goes to. An exit status would not do: a command that knows nothing of this,
or a file that calls sys.exit, has one as well.
"""

import json
import os
import stat
import subprocess
from typing import Final

from dorrit.errors import StartError
from dorrit.process.files.command_file import Record

VARIABLE: Final = "DORRIT_CHECK"

PASSED: Final = b"passed\n"
"""The word of success. JSON follows it: what the server would be, for a reload."""


def received() -> int | None:
    """Take the request out of the environment; return the descriptor, None if there is none.

    Raises:
        StartError: The variable is there, but no request.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        descriptor = int(text)
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        os.set_inheritable(descriptor, False)
    except (ValueError, OverflowError, OSError):
        is_pipe = False
    if not is_pipe:
        raise StartError(
            f"{VARIABLE} is set in the environment, which only 'dorrit restart' and a reload do: "
            "unset it",
            status=2,
        )
    return descriptor


def pass_on(descriptor: int, facts: dict[str, str | None]) -> None:
    """Say that no mistake was found.

    Args:
        descriptor: What `received` has returned.
        facts: What the server would be.
    """
    os.write(descriptor, PASSED + json.dumps(facts).encode("ascii"))


def passes(record: Record) -> bool:
    """Run a server's command so that it only looks for mistakes, which it prints.

    Returns:
        Whether it has found none.

    Raises:
        OSError: The command can't be run.
    """
    reader, writer = os.pipe()
    try:
        # Words, no shell; from a file that only this user can have written.
        subprocess.run(
            record.command,
            cwd=record.directory,
            env=os.environ | {VARIABLE: str(writer)},
            pass_fds=[writer],
            check=False,
        )
        os.set_blocking(reader, False)
        try:
            # Not to the end: a process that the server's file has left behind may hold the pipe.
            return os.read(reader, len(PASSED)) == PASSED
        except BlockingIOError:
            return False
    finally:
        os.close(reader)
        os.close(writer)
