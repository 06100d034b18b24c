"""Runs where systemd does: clients send all the time, and the unit is reloaded, or crashes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.live.server import crash
from tests.live.traffic import traffic

UNIT = "dorrit@numbered"
CLIENTS = 48


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def under_traffic(
    program: str, socket: str, times: int, restart: Callable[[int], object]
) -> dict[str, Any]:
    """Restart the unit so often while clients send; return what they have found, and its pids."""
    pids = []
    with traffic(socket, "/x", CLIENTS, program) as sent:
        for number in range(times):
            restart(number)
            assert systemctl("is-active", UNIT) == "active\n"
            pids.append(systemctl("show", "-P", "MainPID", UNIT).strip())
            sent.report()
        return {"found": sent.end(), "pids": pids}


def main(program: str, socket: str, times: int) -> None:
    """Print what becomes of reloads, and of crashes, of the same process."""
    systemctl("start", UNIT)
    started = systemctl("show", "-P", "MainPID", UNIT).strip()
    reloads = under_traffic(program, socket, times, lambda _: systemctl("reload", UNIT))
    crashes = under_traffic(program, socket, times, lambda number: crash(Path(socket), number))
    systemctl("stop", UNIT)
    shown = {
        "started": started,
        "reloads": reloads,
        "crashes": crashes,
        "restarts": systemctl("show", "-P", "NRestarts", UNIT).strip(),
        "result": systemctl("show", "-P", "Result", UNIT).strip(),
    }
    print(json.dumps(shown))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
