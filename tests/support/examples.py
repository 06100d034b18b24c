"""How many examples are tried, and how long ones."""

import os
from typing import Final

FEWER: Final = "FEWER_EXAMPLES"
"""A number in the environment, by which a slow build is tried with fewer of the same examples."""


FEWER_BY: Final = int(os.environ.get(FEWER, "1"))


def examples(number: int) -> int:
    """As many, or the part of them that a slow build is tried with."""
    return number // FEWER_BY


def pieces(size: int) -> int:
    """Bytes of a piece: so many, or as many times that as there are fewer examples."""
    return size * FEWER_BY
