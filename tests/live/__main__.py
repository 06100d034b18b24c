"""Many reloads under the traffic of many clients: python -m tests.live RELOADS CLIENTS.

It prints how long the clients with small messages had to wait at the most, for each kind of server,
and exits with 1 at the first connection that is lost, or anything else that should not be.
"""

import sys
from statistics import median

from tests.integration.processes import service_directory
from tests.live.server import SERVERS, live, reload


def main(reloads: int, clients: int) -> int:
    """Reload each server so often; return the exit status."""
    for name, server in SERVERS.items():
        waits = []
        with service_directory() as directory, live(directory, server, clients) as running:
            for _ in range(reloads):
                running.traffic.report()
                reload(running.run)
                found = running.traffic.report()
                waits.append(found["longest_ms"])
                if found["lost"] or found["wrong"]:
                    print(f"{name}: {found}\n{running.run.err}", file=sys.stderr)
                    return 1
            found = running.traffic.end()
        if found["lost"] or found["wrong"] or found["codes"]:
            print(f"{name}: {found}", file=sys.stderr)
            return 1
        print(
            f"{name}: {reloads} reloads, {clients} clients, {found['messages']:,} messages, "
            f"{found['answers']:,} answers, {found['visits']:,} visits; none lost, doubled or out "
            f"of order; longest wait {median(waits)} ms in the median, {max(waits)} at most"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
