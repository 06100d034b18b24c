"""Overwrites parts of a server's memory before it crashes, in the server's process."""

import ctypes
import random
import re
import struct
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.forging import HEADER, UNIT

LIBRARY: Final = Path(__file__).parents[2] / "build" / "live" / "overwrite.so"
"""What the test has compiled of `overwrite.c`."""

LEDGER: Final = "/memfd:dorrit-connections"
HEAP_LEAST: Final = 128 * 1024
"""Bytes that malloc and Python take of the system at the least; what is smaller is the linker's."""

NUMBERS: Final = struct.Struct("=8sIIIIIIIIQQQ64s")
"""What stands in the header of a ledger, see `core/ledger_format.h`."""

JOURNAL_FIRST: Final = 8
"""Bytes of a journal that is empty."""

JOURNAL_OFFSET: Final = 0x03FFFFF8
"""Bits of a place in the journal that say how far it is from the beginning."""

MAPPED: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) *(.*)")


class Mapping(NamedTuple):
    """A line of proc(5)'s maps."""

    begin: int
    end: int
    access: str
    inode: int
    name: str


class Area(ctypes.Structure):
    """Of memory, as `overwrite.c` has it."""

    _fields_ = (("begin", ctypes.c_void_p), ("length", ctypes.c_size_t))


def mappings() -> list[Mapping]:
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        matched = MAPPED.match(line)
        assert matched is not None, line
        begin, end, access, inode, name = matched.groups()
        found.append(Mapping(int(begin, 16), int(end, 16), access, int(inode), name))
    return found


def heap() -> list[tuple[int, int]]:
    """Return the areas that malloc and Python have objects in.

    What is anonymous and stands right behind a file are a library's variables, and behind what
    nobody may touch, a stack. The ledger is neither: it is a file that is shared.
    """
    found = []
    before = Mapping(0, 0, "", 0, "")
    for mapping in mappings():
        is_behind = before.end == mapping.begin and (before.inode or before.access == "---p")
        is_large = mapping.end - mapping.begin >= HEAP_LEAST
        is_anonymous = not mapping.name and not is_behind and is_large
        if mapping.access == "rw-p" and (mapping.name == "[heap]" or is_anonymous):
            found.append((mapping.begin, mapping.end - mapping.begin))
        before = mapping
    assert found
    return found


def ledger() -> list[tuple[int, int]]:
    """Return the areas of the ledger that say something: header, records, chunks and journal."""
    begin = next(mapping.begin for mapping in mappings() if mapping.name.startswith(LEDGER))
    fields = NUMBERS.unpack(ctypes.string_at(begin, NUMBERS.size))
    slots, records, units = fields[2:5]
    journal_at, journal = fields[10:12]
    chunks = -(-(HEADER + slots * UNIT) // HEADER) * HEADER
    # Memory is taken in advance; behind what is used there are zeros.
    records = -(-used(begin + HEADER, records * UNIT) // UNIT)
    found = [
        (record, UNIT) for record in range(begin + HEADER, begin + HEADER + records * UNIT, UNIT)
    ]
    others = [
        (begin, NUMBERS.size),
        (begin + chunks, used(begin + chunks, units * UNIT)),
        (begin + journal_at, journal & JOURNAL_OFFSET),
    ]
    # Each area is as likely as any other: so that all records together are, too, there are more.
    found += [area for area in others if area[1] > JOURNAL_FIRST] * len(found)
    return found


def used(address: int, length: int) -> int:
    """Return how many bytes there are up to the last one that is not 0."""
    return len(ctypes.string_at(address, length).rstrip(b"\0"))


def overwrite_and_crash(what: str, seed: int) -> None:
    """Overwrite places of the heap or the ledger, and crash.

    Args:
        what: "heap", or "ledger".
        seed: What is overwritten, and by what, depends on it.
    """
    chance = random.Random(seed)
    if what == "heap":
        areas, places, longest = heap(), chance.choice((1, 30, 1000, 30_000)), 1000
    else:
        areas, places, longest = (
            ledger(),
            chance.randint(1, 6),
            chance.choice((1, 4, JOURNAL_FIRST)),
        )
    given = (Area * len(areas))(*(Area(*area) for area in areas))
    # Not CDLL, which lets other threads run meanwhile.
    function = ctypes.PyDLL(str(LIBRARY)).overwrite_and_fault
    function.argtypes = (ctypes.c_void_p, *[ctypes.c_size_t] * 3, ctypes.c_uint64)
    function(given, len(areas), places, longest, seed)
