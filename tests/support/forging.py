"""Ledgers as an enemy would write them: any field changed, and the checksums made right again.

How a ledger lies in its file is written down a second time here, from `core/ledger_format.h`.
"""

import os
import random
import struct
import sys
from typing import Final

UNIT: Final = 64
HEADER: Final = 4096
RECORD: Final = struct.Struct("=IIQQQiIIIIIHHBBBB")
CHUNK: Final = struct.Struct("=IIIBBBB")
COUNTS: Final = struct.Struct("=IIII")
"""Of the header, behind the magic: format, slots, records, units."""

MASK: Final = (1 << 64) - 1
FIRST: Final = 0x243F6A8885A308D3
SECOND: Final = 0x13198A2E03707345


def checksum(seed: int, data: bytes) -> int:
    """As `core/checksum.c` has it."""

    def mixed(one: int, other: int) -> int:
        product = one * other
        return (product ^ product >> 64) & MASK

    state = seed ^ SECOND
    whole = len(data) // 16 * 16
    padded = data[whole:].ljust(16, b"\0")
    for one, other in struct.iter_unpack("=QQ", data[:whole] + padded):
        state = mixed(one ^ FIRST, other ^ state)
    state = mixed(state ^ SECOND, len(data) ^ FIRST)
    return (state ^ state >> 32) & 0xFFFFFFFF


class Forger:
    """Changes a ledger."""

    def __init__(self, file: int, seed: int) -> None:
        self._file = file
        self._chance = random.Random(seed)
        _, slots, self.records, _ = COUNTS.unpack(os.pread(file, COUNTS.size, 8))
        self._chunks = -(-(HEADER + slots * UNIT) // HEADER) * HEADER

    def spoil(self, slot: int) -> None:
        """Change some bytes of a record, or of a chunk that it leads to."""
        place = HEADER + slot * UNIT
        record = bytearray(os.pread(self._file, UNIT, place))
        fields = RECORD.unpack(record)
        chunks = [number for number in fields[7:11] if number]
        if chunks and self._chance.randrange(3):
            self._spoil_chunk(self._chance.choice(chunks))
            return
        for _ in range(self._chance.randrange(1, 4)):
            self._change(record, 8)
        summed = record[:4] + bytes(4) + record[8:24] + bytes(8) + record[32:]
        record[4:8] = checksum(0, bytes(summed)).to_bytes(4, sys.byteorder)
        os.pwrite(self._file, record, place)

    def _spoil_chunk(self, number: int) -> None:
        place = self._chunks + number * UNIT
        length = CHUNK.unpack(os.pread(self._file, CHUNK.size, place))[0]
        chunk = bytearray(os.pread(self._file, CHUNK.size + length, place))
        for _ in range(self._chance.randrange(1, 4)):
            # The length stays, or the checksum could not be made right.
            self._change(chunk, 12 if self._chance.randrange(4) == 0 else CHUNK.size)
        chunk[4:8] = bytes(4)
        head = checksum(0, bytes(chunk[: CHUNK.size]))
        chunk[4:8] = checksum(head, bytes(chunk[CHUNK.size :])).to_bytes(4, sys.byteorder)
        os.pwrite(self._file, chunk, place)

    def _change(self, data: bytearray, first: int) -> None:
        at = self._chance.randrange(first, len(data)) if len(data) > first else first - 1
        data[at] = self._chance.choice((0, 1, 2, 255, self._chance.randrange(256)))
