"""Reloads under traffic, through a real nginx: nobody notices any."""

import re
from pathlib import Path

import pytest

from tests.live.server import SERVERS, live, nobody_notices, reload

RELOADS = 10
CLIENTS = 200


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_L1_reloads_lose_no_client_and_no_message_double_none_and_keep_their_order(
    directory: Path, server: str
) -> None:
    with live(directory, server, CLIENTS) as running:
        nobody_notices(running, RELOADS, lambda _: reload(running.run))
    carried = re.findall(r"reloaded: (\d+) connections were carried over", running.run.err)
    assert len(carried) == RELOADS
    assert all(int(count) > CLIENTS // 2 for count in carried)
    assert " ERROR " not in running.run.err
    assert " WARNING " not in running.run.err
