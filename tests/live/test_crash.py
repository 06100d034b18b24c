"""Crashes under traffic, through a real nginx: nobody notices any but who has caused it."""

import re
from pathlib import Path

import pytest

from tests.live.server import SERVERS, crash, live, nobody_notices

CRASHED = 10
CLIENTS = 200


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_L3_crashes_lose_no_other_client_and_no_message_double_none_and_keep_their_order(
    directory: Path, server: str
) -> None:
    with live(directory, server, CLIENTS) as running:
        nobody_notices(running, CRASHED, lambda number: crash(running.run.path, number))
    carried = re.findall(r"(\d+) connections go on after the crash", running.run.err)
    assert len(carried) == CRASHED
    assert all(int(count) > CLIENTS // 2 for count in carried)
