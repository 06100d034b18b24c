"""Inputs without a fuzzer: python -m fuzz.replay TARGET COUNT FOLDER.

Each file of the folder goes through the target, then `COUNT` inputs that are made of them; these
are the same each time.
"""

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

SEED = 6455


def mutated(inputs: list[bytes], count: int) -> Iterator[bytes]:
    """Make inputs out of others: cut, joined, and with bytes changed."""
    chance = random.Random(SEED)  # noqa: S311 - it is to be the same each time
    for _ in range(count):
        data = bytearray(chance.choice(inputs))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at : at + 1] = chance.randbytes(1)
                case 1:
                    data[at:at] = chance.randbytes(chance.randrange(9))
                case 2:
                    del data[at : at + chance.randrange(9)]
                case 3:
                    other = chance.choice(inputs)
                    data[at:] = other[chance.randrange(len(other) + 1) :]
                case _:
                    end = at + chance.randrange(33)
                    data[at:at] = data[at:end]
        yield bytes(data[:4096])


def main() -> None:
    """Say which input is to blame, and let the fault end the process."""
    target, count, folder = sys.argv[1:]
    fuzz_one = importlib.import_module(f"fuzz.{target}").fuzz_one
    corpus = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    made = mutated(list(corpus.values()), int(count))
    inputs = [*corpus.items(), *((f"input {index}", data) for index, data in enumerate(made))]
    for name, data in inputs:
        try:
            fuzz_one(data)
        except BaseException:
            print(f"{target}, {name}: {data.hex()}", file=sys.stderr)
            raise
    print(len(inputs))


if __name__ == "__main__":
    main()
