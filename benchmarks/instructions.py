"""``python -m benchmarks.instructions``: instructions that a message costs dorrit, by callgrind.

What the kernel does is not in it, and neither are caches. But it is the same figure in each run, on
a busy machine, too, where CPU time is not.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import Contender, dorrit_contenders, running
from benchmarks.programs import program
from benchmarks.revisions import UnknownRevisionError, site_of
from benchmarks.scenarios import ASYNC, BEFORE, OBJECTS, OURS

IN_FLIGHT = (1, 16)

# Valgrind runs an interpreter some 50 times slower.
START_SECONDS = 120.0
MESSAGES = (1600, 4800)

# A second thread, which only looks on, has callgrind 3.19 fail when the process gets SIGTERM.
ONE_THREAD = ("--slow-handler", "0")

_COLLECTED = re.compile(r"Collected : (\d+)")


def instructions(contender: Contender, in_flight: int, messages: int) -> tuple[int, int]:
    """Run a server under callgrind for one client, and stop it.

    One client on one connection: what has come when the server looks depends on no timing then.

    Returns:
        All instructions of the server's process, and the messages that it has echoed when it was
        warm.
    """
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "valgrind.log"
        valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
        command = (*valgrind, f"--log-file={log}", *contender.command)
        # The seed of the hashes decides which dict has collisions.
        environment = {**contender.environment, "PYTHONHASHSEED": "0"}
        counted = Contender(contender.name, command, environment)
        with running(counted, Path(name), core=None, timeout=START_SECONDS) as server:
            answer = subprocess.run(
                [
                    *(str(program("client")), "-c", "1", "-k", str(in_flight), "-s", "64"),
                    *("-w", "0", "-t", "600", "-m", str(messages), str(server.path)),
                ],
                input="\n",
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
        found = _COLLECTED.search(log.read_text())
        if found is None:
            raise RuntimeError(f"callgrind has counted nothing: {log.read_text()}")
        return int(found[1]), int(json.loads(answer.splitlines()[-1])["deliveries"])


def instructions_per_message(contender: Contender, in_flight: int) -> float:
    """Compare a short run with a longer one: start, handshake and end are in both."""
    few, many = (instructions(contender, in_flight, messages) for messages in MESSAGES)
    return (many[0] - few[0]) / (many[1] - few[1])


def main() -> int:
    """Count for each server and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument(
        "--against", metavar="REV", help="also dorrit as it was at this git revision"
    )
    against = parser.parse_args().against
    try:
        before = None if against is None else site_of(against)
    except UnknownRevisionError as error:
        print(error, file=sys.stderr)
        return 2
    print("Instructions for each message of 64 bytes, one connection (callgrind)")
    print(f"  {'server':<21}" + "".join(f"{k:>10} in flight" for k in IN_FLIGHT))
    for contender in dorrit_contenders(before, *ONE_THREAD):
        if contender.name not in {OURS, BEFORE, OBJECTS, ASYNC}:
            continue
        counts = (instructions_per_message(contender, in_flight) for in_flight in IN_FLIGHT)
        print(
            f"  {contender.name:<21}" + "".join(f"{count:>20,.0f}" for count in counts), flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
