"""Many reloads and crashes under the traffic of many clients: python -m tests.live TIMES CLIENTS.

Each kind of server is reloaded so often, and then has so many crashes. It prints how long the
clients with small messages had to wait at the most, and exits with 1 at the first connection that
is lost, or anything else that should not be.
"""

import sys
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

from tests.integration.processes import service_directory
from tests.live.server import SERVERS, Live, crash, live, reload
from tests.support.servers import Run

RESTARTS: Final[Mapping[str, Callable[[Run, int], object]]] = {
    "reloads": lambda run, _: reload(run),
    "crashes": lambda run, number: crash(run.path, number),
}
"""What is done to each server, by what it is called."""


def longest_waits(
    running: Live, times: int, restart: Callable[[Run, int], object]
) -> list[int] | None:
    """Restart a server so often; return the longest wait of each time, None if anybody is lost.

    Who is still waiting when the server serves again is counted the next time.
    """
    waits = []
    running.traffic.report()
    for number in range(times):
        restart(running.run, number)
        found = running.traffic.report()
        waits.append(found["longest_ms"])
        if found["lost"] or found["wrong"]:
            print(f"{found}\n{running.run.err}", file=sys.stderr)
            return None
    return waits


def main(times: int, clients: int) -> int:
    """Restart each server so often in each way; return the exit status."""
    for name, server in SERVERS.items():
        for restarts, restart in RESTARTS.items():
            with service_directory() as directory, live(directory, server, clients) as running:
                waits = longest_waits(running, times, restart)
                if waits is None:
                    print(f"{name}: a client has noticed one of the {restarts}", file=sys.stderr)
                    return 1
                found = running.traffic.end()
            if found["lost"] or found["wrong"] or found["codes"]:
                print(f"{name}: {restarts}: {found}", file=sys.stderr)
                return 1
            print(
                f"{name}: {times} {restarts}, {clients} clients, {found['messages']:,} messages, "
                f"{found['answers']:,} answers, {found['visits']:,} visits; none lost, doubled or "
                f"out of order; longest wait {median(waits)} ms in the median, "
                f"{max(waits)} at most",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
