"""How many examples Hypothesis tries."""

import os
from typing import Final

FEWER: Final = "FEWER_EXAMPLES"
"""A number in the environment, by which a slow build is tried with fewer of the same examples."""


def examples(number: int) -> int:
    """As many, or the part of them that a slow build is tried with."""
    return number // int(os.environ.get(FEWER, "1"))
