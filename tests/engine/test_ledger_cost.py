"""What it costs to keep a ledger, in instructions: those are the same on a busy machine."""

import os

from benchmarks.contenders import Contender, dorrit_contenders
from benchmarks.instructions import ONE_THREAD, instructions_per_message
from benchmarks.scenarios import OURS

IN_FLIGHT = 16

TIMES = 3
"""A machine that is busy wakes the server for fewer messages at a time, so that each costs more."""

# Who may not execute the interpreter, as nobody may not everywhere, keeps no ledger.
STAYS = ("-u", "root") if os.geteuid() == 0 else ()


def echo(*options: str) -> Contender:
    """The echo server of plain handlers."""
    return next(one for one in dorrit_contenders(None, *ONE_THREAD, *options) if one.name == OURS)


def test_L9_a_pipelined_echo_takes_2_percent_more_at_most() -> None:
    kept, without = [], []
    for _ in range(TIMES):
        kept.append(instructions_per_message(echo(*STAYS), IN_FLIGHT))
        without.append(instructions_per_message(echo(*STAYS, "--no-restart"), IN_FLIGHT))
        if min(without) < min(kept) < 1.02 * min(without):
            return
    raise AssertionError((kept, without))
