"""Many restarts under the traffic of many clients: python -m tests.live TIMES CLIENTS.

Each kind of server is reloaded so often, and then has so many crashes; once more each with a
supervisor, whose worker is then killed so often. It prints how long the clients with small messages
had to wait at the most, and exits with 1 at the first connection that is lost, but for those that a
kill may cost, or anything else that should not be.
"""

import sys
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final, NamedTuple

from tests.integration.processes import service_directory
from tests.live.server import LOST_BY_KILL, SERVERS, Live, crash, kill, live, reload


class Restart(NamedTuple):
    """A way to restart a server.

    Attributes:
        restart: `restart(running, number)` does it, and returns when the server serves again: what
            the clients have found, if it has asked them.
        lost: Connections that it may cost.
    """

    restart: Callable[[Live, int], dict[str, Any] | None]
    lost: int = 0


RESTARTS: Final[Mapping[str, Restart]] = {
    "reloads": Restart(lambda running, _: reload(running.run)),
    "crashes": Restart(lambda running, number: crash(running.run.path, number)),
}
"""What is done to each server, by what it is called."""

SUPERVISED: Final = "--supervise"
KILLS: Final[Mapping[str, Restart]] = {
    **RESTARTS,
    "kills": Restart(lambda running, _: kill(running), LOST_BY_KILL),
}
"""What is done to one with a supervisor."""


def longest_waits(running: Live, times: int, way: Restart) -> list[int] | None:
    """Restart a server so often; return the longest wait of each time, None if anybody is lost.

    Who is still waiting when the server serves again is counted the next time.
    """
    waits = []
    running.traffic.report()
    for number in range(times):
        found = way.restart(running, number)
        if found is None:
            found = running.traffic.report()
        waits.append(found["longest_ms"])
        if found["lost"] > way.lost * (number + 1) or found["wrong"]:
            print(f"{found}\n{running.run.err}", file=sys.stderr)
            return None
    return waits


def main(times: int, clients: int) -> int:
    """Restart each server so often in each way; return the exit status."""
    for server in SERVERS:
        for options, ways in (((), RESTARTS), ((SUPERVISED,), KILLS)):
            for restarts, way in ways.items():
                if not _restart(server, times, clients, options, restarts, way):
                    return 1
    return 0


def _restart(  # noqa: PLR0917 - what is run, and how
    server: str,
    times: int,
    clients: int,
    options: tuple[str, ...],
    restarts: str,
    way: Restart,
) -> bool:
    """Restart one in one way; return whether nobody has noticed."""
    name = " ".join((server, *options))
    file = SERVERS[server]
    with (
        service_directory() as directory,
        live(directory, file, clients, *options, how=None) as running,
    ):
        waits = longest_waits(running, times, way)
        if waits is None:
            print(f"{name}: a client has noticed one of the {restarts}", file=sys.stderr)
            return False
        found = running.traffic.end()
    may_be_closed = {"1012", "503"} if way.lost else set()
    if found["lost"] > way.lost * times or found["wrong"] or found["codes"].keys() - may_be_closed:
        print(f"{name}: {restarts}: {found}", file=sys.stderr)
        return False
    print(
        f"{name}: {times} {restarts}, {clients} clients, {found['messages']:,} messages, "
        f"{found['answers']:,} answers, {found['visits']:,} visits; {found['lost']} connections "
        f"lost, nothing doubled or out of order; longest wait {median(waits)} ms in the median, "
        f"{max(waits)} at most",
        flush=True,
    )
    return True


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
