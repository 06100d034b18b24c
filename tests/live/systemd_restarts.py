"""Runs where systemd does: clients send all the time, and the unit is reloaded meanwhile."""

import json
import subprocess
import sys

from tests.live.traffic import traffic

UNIT = "dorrit@numbered"


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def main(program: str, socket: str, reloads: int) -> None:
    systemctl("start", UNIT)
    pids = []
    with traffic(socket, "/x", 48, program) as sent:
        for _ in range(reloads):
            systemctl("reload", UNIT)
            assert systemctl("is-active", UNIT) == "active\n"
            pids.append(systemctl("show", "-P", "MainPID", UNIT).strip())
            sent.report()
        found = sent.end()
    systemctl("stop", UNIT)
    result = systemctl("show", "-P", "Result", UNIT).strip()
    print(json.dumps({"found": found, "pids": pids, "result": result}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
