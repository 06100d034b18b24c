"""Soaks all servers at the same time and prints what they hold: `make soak`.

`python -m tests.soak [SECONDS] [--rounds N] [--seed N] [--server NAME] [--fault NAME]`
"""

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from random import Random

from tests.soak.drive import SERVERS, Drive, Length
from tests.soak.verdict import Sample, faults
from tests.support import ignored

EACH = 60.0
"""Seconds between two lines of the table."""

HEADINGS = ("minutes", "server", "clients", "messages", "dropped", "crashes", "MB", "blocks", "fds")
WIDTHS = (7, 12, 9, 9, 9, 7, 7, 8, 4)


def row(*words: object) -> str:
    return "  ".join(f"{word!s:>{width}}" for word, width in zip(words, WIDTHS, strict=True))


def figures(drive: Drive, began: float) -> str:
    """What one server has been through, as a line of the table."""
    last = drive.samples[-1] if drive.samples else Sample(0, 0, 0, 0, 0)
    return row(
        f"{(time.monotonic() - began) / 60:.1f}",
        drive.name,
        drive.stage.tally["clients"],
        drive.stage.tally["messages"],
        drive.stage.tally["dropped"],
        drive.crashes,
        f"{last.resident / 1e6:.1f}",
        last.blocks,
        last.descriptors,
    )


def run(drive: Drive, failures: list[str]) -> None:
    """Soak one server; what goes wrong is added to the failures."""
    try:
        drive.soak()
    except BaseException:
        failures.append(traceback.format_exc())


def soak(drives: list[Drive], began: float) -> list[str]:
    """Soak all at the same time, to the end or until something is lost; return what was."""
    failures: list[str] = []
    # As daemons: when one has failed, nobody waits for the others.
    threads = [
        threading.Thread(target=run, args=(drive, failures), daemon=True) for drive in drives
    ]
    for thread in threads:
        thread.start()
    print(row(*HEADINGS), flush=True)
    shown = began
    while any(thread.is_alive() for thread in threads) and not failures:
        threads[0].join(0.1)
        threads[-1].join(0.1)
        if time.monotonic() - shown >= EACH:
            shown = time.monotonic()
            for drive in drives:
                print(figures(drive, began), flush=True)
    for drive in drives:
        print(figures(drive, began), flush=True)
    return failures[:1]  # what comes then, comes of the end


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("seconds", type=float, nargs="?", default=3600.0)
    parser.add_argument("--rounds", type=int, help="so many rounds instead of seconds")
    parser.add_argument("--seed", type=int, help="as printed: the same scenes again")
    parser.add_argument("--server", choices=SERVERS, help="this one alone")
    parser.add_argument("--fault", default="", help="put one in: memory, descriptor or order")
    words = parser.parse_args()
    seed = secrets.randbits(32) if words.seed is None else words.seed
    print(f"SEED={seed}", flush=True)
    ignored.catch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    began = time.monotonic()
    length = Length(words.seconds, words.rounds)
    directory = Path(tempfile.mkdtemp(prefix="dorrit-soak-", dir="/tmp"))
    drives = []
    try:
        for name in [words.server] if words.server else SERVERS:
            folder = directory / name
            folder.mkdir()
            drives.append(Drive(name, folder, Random(f"{name} {seed}"), length, words.fault))
        lost = soak(drives, began)
    finally:
        for drive in drives:
            drive.run.kill()
    wrong = lost or [
        f"{drive.name}: {fault}" for drive in drives for fault in faults(drive.samples)
    ]
    if wrong:
        samples = {drive.name: drive.samples for drive in drives}
        (directory / "samples.json").write_text(json.dumps(samples))
        print(*wrong, f"The samples and the logs are in {directory}.", sep="\n")
        return 1
    shutil.rmtree(directory)
    print("Nothing was lost, and nothing is left behind.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
