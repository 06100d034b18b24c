"""How long a server that has crashed waits before it serves again (R28).

Each crash adds one to a score, and each ten seconds of service take one away. So a server that
crashes as soon as it starts soon does little else than wait. One that some client can crash every
ten seconds goes on serving the others all the time, where waiting would only do that client's work.
And one that has run well for two minutes begins anew, whatever was before.
"""

from math import log2
from typing import Final

LONGEST: Final = 60.0
"""Seconds of the longest wait."""

FIRST: Final = 0.1
"""Seconds of the first wait that is one; each further one more than doubles."""

FORGIVEN_AFTER: Final = 10.0
"""Seconds of service for which one crash is forgotten."""

MOST: Final = 1 + log2(LONGEST / FIRST + 1)
"""The score at which the wait is the longest."""


def score_after_crash(crash_score: float, served: float) -> float:
    """Return the score when a server has crashed once more.

    Args:
        crash_score: What it was after the crash before; 0 if there was none.
        served: Seconds from the end of the wait after that one to this crash.
    """
    return min(MOST, max(0.0, crash_score - max(0.0, served) / FORGIVEN_AFTER) + 1)


def wait_after_crash(crash_score: float) -> float:
    """Return for how many seconds after a crash nothing is served: 0 to `LONGEST`.

    Nothing after a first one, and for each further one at once 0.1, 0.3, 0.7, 1.5 and so on.
    """
    return max(0.0, min(LONGEST, FIRST * (2 ** (crash_score - 1) - 1)))
