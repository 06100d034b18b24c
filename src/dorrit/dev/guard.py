"""The process between ``dorrit dev`` and the server that it runs.

The server must not outlive the command, however that ends. Linux could do this with
``prctl(PR_SET_PDEATHSIG)``, but that setting is lost when the server changes its user, and no other
system has it under this name. A pipe works everywhere: ``dorrit dev`` holds the only write end, and
the kernel closes it when that process ends, be it by SIGKILL. Closing it is also how ``dorrit dev``
asks for a stop, so there is one way to stop the server and not two.

This file is run by its path, in isolated mode, and imports nothing of dorrit: it starts quickly and
a broken installation does not keep it from cleaning up.

Usage: ``guard.py DESCRIPTOR GRACE COMMAND...``: the read end of the pipe, and the seconds between
SIGTERM and SIGKILL.
"""

import os
import subprocess
import sys
import threading

SIGNAL_STATUS = 128
"""A process that signal N ended has the exit status 128 + N here, as in a shell."""


def _stop_at_end_of(descriptor: int, process: "subprocess.Popen[bytes]", grace: float) -> None:
    while os.read(descriptor, 1):
        pass
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()


def main(arguments: list[str]) -> int:
    """Run the command until it ends or the pipe is closed.

    Args:
        arguments: The descriptor's number, the grace in seconds, the command and its arguments.

    Returns:
        The command's exit status, or 128 + N if signal N ended it.
    """
    descriptor, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    # Popen closes all other descriptors in the child: only this process waits at the pipe.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        threading.Thread(
            target=_stop_at_end_of, args=(descriptor, process, grace), daemon=True
        ).start()
        status = process.wait()
    return status if status >= 0 else SIGNAL_STATUS - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
