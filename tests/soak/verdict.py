"""Whether what a server holds is flat: nothing of its clients is left behind."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

LEAST: Final = 6
"""Samples of an epoch that can be judged."""

RESIDENT: Final = (6_000_000, 16)
BLOCKS: Final = (400, 0.1)
"""What memory may grow by from one window to the next: so much, and so much for each client."""

LEDGER: Final = 8_000_000
"""Bytes that the ledger may have of it: 4 MiB of free chunks, 1 MiB of journal, and its records."""


class Sample(NamedTuple):
    """What a server holds when only those are there that stay.

    Attributes:
        epoch: The image of its process, of which a crash makes a new one: counted from 0.
        clients: That have been there so far.
        resident: Bytes of memory that it has for itself, but for those of the ledger.
        blocks: Pieces of memory that Python has given to objects.
        descriptors: How many it has open.
        ledger: Bytes of memory that the ledger has.
    """

    epoch: int
    clients: int
    resident: int
    blocks: int
    descriptors: int
    ledger: int = 0


def _growth(samples: Sequence[Sample], what: Callable[[Sample], int]) -> tuple[int, int]:
    """By how much the least of the last third is more than that of the middle one, and for whom.

    What comes and goes, such as an arena of Python's or a part of the heap that something holds
    open, is not in the least of several; what leaks is. The first third is for what the first
    clients of each kind bring with them.
    """
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    clients = last[len(last) // 2].clients - middle[len(middle) // 2].clients
    return min(map(what, last)) - min(map(what, middle)), clients


def epochs(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples of each image of the process."""
    for _, group in groupby(samples, lambda sample: sample.epoch):
        yield list(group)


def faults(samples: Sequence[Sample]) -> list[str]:
    """What is wrong with the samples of one server; nothing, if all is flat.

    - Memory is judged in the longest epoch, which has `LEAST` samples or more: the least of the
      last third may be more than the least of the middle third by what `RESIDENT` and `BLOCKS` say.
    - The ledger may never have more than `LEDGER`.
    - Descriptors are judged in all of them: at the end of each there are as many as there were in
      the first one at least.
    """
    fewest = min(sample.descriptors for sample in samples if sample.epoch == 0)
    found = []
    for epoch in epochs(samples):
        left = min(sample.descriptors for sample in epoch[-3:]) - fewest
        if left != 0:
            found.append(f"epoch {epoch[0].epoch}: {left:+} descriptors at its end")
    # The ledger keeps what it has had for those who came at once, up to some size: it is not flat.
    most = max(sample.ledger for sample in samples)
    if most > LEDGER:
        found.append(f"the ledger has {most} bytes, though hardly anybody is there")
    longest = max(epochs(samples), key=len)
    where = f"epoch {longest[0].epoch}"
    if len(longest) < LEAST:
        return [*found, f"{where}, the longest, has {len(longest)} samples: too short to be judged"]
    for name, what, (fixed, each) in (
        ("bytes of memory", lambda sample: sample.resident, RESIDENT),
        ("blocks of Python's", lambda sample: sample.blocks, BLOCKS),
    ):
        grown, clients = _growth(longest, what)
        if grown > fixed + each * clients:
            found.append(f"{where}: {grown:+} {name} while {clients} clients came")
    return found
