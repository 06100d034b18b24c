"""``python -m benchmarks.memory``: what an idle connection costs a server, in bytes.

The memory of the server's process is read with one connection open and again with many. The
kernel's share (sockets, their buffers) is the same for all servers and not in it.
"""

import argparse
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Server, UnavailableError, echo_contenders, running

CONNECTIONS = 5000

# A server may still be at work (timers of the handshake, say) after its last 101.
SETTLE_SECONDS = 6.0

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True)
class Memory:
    """Memory of a process, in bytes.

    Attributes:
        resident: all its pages that are in memory (Rss).
        proportional: the same, with shared pages divided among those that share them (Pss).
        unique: only the pages that nobody shares (Private_Clean and Private_Dirty, "USS").
    """

    resident: int
    proportional: int
    unique: int


def memory_of(pid: int) -> Memory:
    """Read ``/proc/PID/smaps_rollup`` (``proc_pid_smaps(5)``)."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _colon, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    return Memory(fields["Rss"], fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"])


def connect(path: Path) -> socket.socket:
    """Open a WebSocket connection, which stays idle.

    Raises:
        ConnectionError: the upgrade was refused.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    connection.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            break
        answer += more
    if not answer.startswith(b"HTTP/1.1 101 "):
        connection.close()
        raise ConnectionError(f"the upgrade was refused: {answer[:40]!r}")
    return connection


def measure(server: Server, connections: int) -> tuple[Memory, Memory]:
    """Memory of ``server`` with one idle connection, and with ``connections`` more."""
    with ExitStack() as stack:
        stack.enter_context(connect(server.path))
        before = memory_of(server.pid)
        for _ in range(connections):
            stack.enter_context(connect(server.path))
        time.sleep(SETTLE_SECONDS)
        return before, memory_of(server.pid)


def main() -> int:
    """Measure each server and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N")
    connections = parser.parse_args().connections
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"Memory of the server's process, {connections:,} idle connections")
    print(
        f"  {'server':<21}{'at rest, KiB':>14}{'bytes/connection: RSS':>24}{'PSS':>10}{'USS':>10}"
    )
    for contender in echo_contenders():
        with tempfile.TemporaryDirectory() as folder:
            try:
                with running(contender, Path(folder), core=None) as server:
                    before, after = measure(server, connections)
            except (UnavailableError, OSError) as error:
                print(f"  {contender.name:<21}not measured: {error}")
                continue
        print(
            f"  {contender.name:<21}{before.resident // 1024:>14,}"
            f"{(after.resident - before.resident) / connections:>24,.0f}"
            f"{(after.proportional - before.proportional) / connections:>10,.0f}"
            f"{(after.unique - before.unique) / connections:>10,.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
