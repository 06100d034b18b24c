"""How long an honest client waits under each attack: the table of docs/security.md.

`python -m tests.attacks [NAME ...]` takes some minutes for all attacks.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.attacks.arena import arena
from tests.attacks.attackers import ATTACKS
from tests.support.servers import Servers

OPTIONS = ("--deflate",)

SECONDS = 3.0

LEFT_OUT = ("a few slow requests",)  # for the tests of nginx


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}" if seconds < 0.01 else f"{seconds * 1000:.0f}"


def row(servers: Servers, name: str) -> list[str]:
    """What one attack on a fresh server does to the honest client beside it."""
    with arena(servers, "object", *OPTIONS) as fought:
        fought.attack(name, seconds=SECONDS)
        figures = fought.under_attack
        return [
            name,
            str(len(figures.messages)),
            milliseconds(fought.quiet.median),
            milliseconds(figures.median),
            milliseconds(figures.worst),
            milliseconds(statistics.median(figures.newcomers)) if figures.newcomers else "",
            f"{max(fought.memory_gained, 0) >> 20}",
        ]


def main(*names: str) -> None:
    print("| attack | messages | quiet | median | worst | newcomer | memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names or [name for name in ATTACKS if name not in LEFT_OUT]:
        with tempfile.TemporaryDirectory(prefix="dorrit-", dir="/tmp") as directory:
            servers = Servers(Path(directory))
            try:
                print(f"| {' | '.join(row(servers, name))} |", flush=True)
            finally:
                servers.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
