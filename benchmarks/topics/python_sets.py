"""A set for each topic, and one of topics for each member, as a server's own code would have."""

import gc
import random
import sys
import time
import tracemalloc
from collections import defaultdict

FACTOR = 7919


class Member:
    """What stands for a connection."""

    __slots__ = ("topics",)

    def __init__(self) -> None:
        self.topics: set[str] = set()


def main() -> None:
    """Print what `crowd.h` says."""
    members, topics, each = map(int, sys.argv[1:])
    names = [f"room:{topic}" for topic in range(topics)]
    everybody = [Member.__new__(Member) for _ in range(members)]
    chance = random.Random(1)
    firsts = [m % topics if each == 1 else chance.randrange(topics) for m in range(members)]
    pairs = [
        (member, names[(first + number * FACTOR) % topics])
        for member, first in zip(everybody, firsts, strict=True)
        for number in range(each)
    ]
    gc.disable()

    def subscribe() -> dict[str, set[Member]]:
        table: dict[str, set[Member]] = defaultdict(set)
        for member in everybody:
            member.topics = set()
        for member, name in pairs:
            table[name].add(member)
            member.topics.add(name)
        return table

    tracemalloc.start()
    table = subscribe()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del table
    begin = time.perf_counter()
    table = subscribe()
    subscribing = time.perf_counter() - begin
    begin = time.perf_counter()
    visited = sum(1 for name in names for _ in table.get(name, ()))
    visiting = time.perf_counter() - begin
    assert visited == len(pairs)
    chance.shuffle(pairs)
    begin = time.perf_counter()
    for member, name in pairs:
        found = table[name]
        found.remove(member)
        member.topics.remove(name)
        if not found:
            del table[name]
    leaving = time.perf_counter() - begin
    assert not table
    figures = (size, subscribing * 1e9, leaving * 1e9, visiting * 1e9)
    print(*(f"{figure / len(pairs):.1f}" for figure in figures))


if __name__ == "__main__":
    main()
