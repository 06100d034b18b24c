"""``python -m benchmarks.topics``: bytes and nanoseconds for each subscription, in one run.

Each structure is a program of its own, which runs three times for each crowd; the smallest of its
figures is printed, since whatever else the machine does makes them larger.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.programs import BUILD, SOURCES

CROWDS = (
    (1_000_000, 1, 1),
    (1_000_000, 1_000, 1),
    (1_000_000, 1_000_000, 1),
    (100_000, 100_000, 5),
)
"""Members, topics, and how many topics each member has."""

ROUNDS = 3

_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")
_HERE = SOURCES / "topics"


def _compiled(compiler: str, source: str, *flags: str) -> Path:
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / Path(source).with_suffix("").name
    command = [compiler, *_FLAGS, *flags, str(_HERE / source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def structures() -> dict[str, Sequence[str]]:
    """Return the command of each."""
    return {
        "dorrit": (str(_compiled("cc", "dorrit.c", "-std=c11", "-D_GNU_SOURCE")),),
        "sets of C++": (str(_compiled("c++", "sets.cc", "-std=c++17")),),
        "sets of Python": (sys.executable, str(_HERE / "python_sets.py")),
    }


def figures_of(command: Sequence[str], crowd: Sequence[int], rounds: int) -> list[float]:
    """Bytes for each subscription; nanoseconds to subscribe, to unsubscribe and to visit."""
    best: list[float] | None = None
    for _ in range(rounds):
        done = subprocess.run(
            [*command, *map(str, crowd)], check=True, stdout=subprocess.PIPE, text=True
        )
        found = [float(word) for word in done.stdout.split()]
        best = found if best is None else [min(pair) for pair in zip(best, found, strict=True)]
    assert best is not None
    return best


def main(words: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.topics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--divide", type=int, default=1, help="the crowds by that")
    options = parser.parse_args(words)
    print("| members | topics | each | structure | bytes | subscribe, ns | unsubscribe | visit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for members, topics, each in CROWDS:
        crowd = (members // options.divide, max(1, topics // options.divide), each)
        for name, command in structures().items():
            figures = figures_of(command, crowd, options.rounds)
            cells = [f"{number:,}" for number in crowd] + [name] + [f"{one:.0f}" for one in figures]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
