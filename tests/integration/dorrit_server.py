"""``dorrit serve`` and ``dorrit dev`` as child processes."""

import contextlib
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.processes import Process, find_service_user

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVERS = Path(__file__).parent / "servers"


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextlib.contextmanager
def dorrit_serve(server: Path, socket_path: Path, *options: str | Path) -> Iterator[Process]:
    """Run ``dorrit serve`` in the foreground; at the end it has to stop as R27 says.

    Args:
        server: The server's file.
        socket_path: Where it listens.
        options: More options of the command.
    """
    user = find_service_user()
    # nginx runs as this user in the tests, and has to be allowed to connect (R25, R26).
    who = [] if user is None else ["-u", user.pw_name, "-g", str(user.pw_gid)]
    command = [sys.executable, "-m", "dorrit", "serve", server, "-x", "-l", socket_path]
    command += [*who, *options]
    process = Process(f"dorrit serve {server.name}", command)
    process.wait_until(lambda: _accepts(socket_path), "its socket accepts")
    try:
        yield process
    finally:
        status = process.stop()
    assert status == 0, process.output
    assert not socket_path.exists()


@contextlib.contextmanager
def dorrit_dev(server: Path | str, *options: str | Path) -> Iterator[str]:
    """Run ``dorrit dev`` on a free port and yield the address that it prints, with a ``/``."""
    process = Process(
        f"dorrit dev {Path(server).name}",
        [sys.executable, "-m", "dorrit", "dev", server, "--port", "0", *options],
    )
    address = re.compile(r"http://127\.0\.0\.1:\d+/")
    process.wait_until(lambda: address.search(process.output) is not None, "it prints its address")
    found = address.search(process.output)
    assert found is not None
    try:
        yield found.group()
    finally:
        status = process.stop()
    assert status == 0, process.output
