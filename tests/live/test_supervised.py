"""A supervised server under traffic, through a real nginx: another worker goes on."""

import re
from pathlib import Path

import pytest

from tests.live.server import LOST_BY_KILL, SERVERS, crash, kill, live, nobody_notices, reload

TIMES = 10
CLIENTS = 200


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_L1_reloads_are_noticed_by_nobody(directory: Path, server: str) -> None:
    with live(directory, server, CLIENTS, "--supervise") as running:
        nobody_notices(running, TIMES, lambda _: reload(running.run))
    carried = re.findall(r"reloaded: (\d+) connections were carried over", running.run.err)
    assert len(carried) == TIMES
    assert all(int(count) > CLIENTS // 2 for count in carried)
    assert " ERROR " not in running.run.err
    assert " WARNING " not in running.run.err


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_L3_a_crash_is_noticed_by_its_culprit_alone(directory: Path, server: str) -> None:
    with live(directory, server, CLIENTS, "--supervise") as running:
        nobody_notices(running, TIMES, lambda number: crash(running.run.path, number))
    carried = re.findall(r"(\d+) connections go on after the crash", running.run.err)
    assert len(carried) == TIMES


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_L4_sigkill_costs_two_connections_at_the_most(directory: Path, server: str) -> None:
    with live(directory, server, CLIENTS, "--supervise") as running:
        pid = running.run.pid
        for number in range(TIMES):
            found = kill(running)
            assert found["wrong"] == 0, running.run.err
            # A slow client hears late of it.
            assert found["lost"] <= LOST_BY_KILL * (number + 1), running.run.err
        found = running.traffic.end()
        assert found["wrong"] == 0
        assert found["lost"] <= LOST_BY_KILL * TIMES
        assert found["codes"].keys() <= {"1012", "503"}
        assert running.run.pid == pid
