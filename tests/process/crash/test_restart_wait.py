"""A server that crashes again and again waits before it serves again (R28)."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dorrit.process.crash import restart
from dorrit.process.exec.backoff import LONGEST, MOST, score_after_crash, wait_after_crash
from dorrit.process.exec.handover import Handover
from tests.process.crash.restarting import CRASHED, Starter
from tests.support.servers import until

CRASH_IN_NEXT_IMAGES = "if hasattr(server, 'handover'): abort()"


@pytest.fixture
def start(directory: Path) -> Iterator[Starter]:
    starter = Starter(directory)
    yield starter
    starter.close()


def waits(served: float, crashes: int, crash_score: float = 0.0) -> list[float]:
    """The waits of a server that serves for so long between a wait and the next crash."""
    found = []
    for _ in range(crashes):
        crash_score = score_after_crash(crash_score, served)
        found.append(wait_after_crash(crash_score))
    return found


def test_R28_crashes_at_once_more_than_double_the_wait_up_to_a_minute() -> None:
    found = waits(0.0, 30)
    assert found[:5] == pytest.approx([0, 0.1, 0.3, 0.7, 1.5])
    growing = found[1 : found.index(LONGEST)]
    assert all(after > 2 * before for before, after in pairwise(growing))
    assert len(growing) < 12
    assert set(found[len(growing) + 1 :]) == {LONGEST}


def test_R28_crashes_that_are_far_apart_cost_no_wait() -> None:
    assert waits(10.0, 50) == [0] * 50


def test_R28_a_server_that_has_run_well_for_two_minutes_begins_anew() -> None:
    assert waits(120.0, 1, crash_score=MOST) == [0]
    assert waits(5.0, 1, crash_score=MOST)[0] > LONGEST / 2


def crashed(times: int, served: float, at: float) -> Handover:
    """What a server leaves that has crashed so often, at last then, and waited each time."""
    handover = Handover(name="test", socket="/tmp/socket", listener=0)
    moments = [0.0]
    for wait in waits(served, times - 1):
        moments.append(moments[-1] + wait + served)
    for moment in moments:
        handover = handover.after(signal.SIGSEGV, moment - moments[-1] + at, "")
    return handover


def test_R28_many_crashes_are_as_well_remembered_as_few() -> None:
    handover = crashed(200, 1.0, at=time.clock_gettime(time.CLOCK_MONOTONIC))
    assert len(handover.crash_times) == 32
    assert handover.restarts == 200
    assert LONGEST - 1 < handover.delay() <= LONGEST


def test_R28_the_time_that_the_restart_has_taken_counts() -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert 40 < crashed(30, 0.0, at=now - 10).delay() <= 50
    assert crashed(30, 0.0, at=now - LONGEST).delay() == 0


def test_R28_waiting_is_no_service() -> None:
    handover = crashed(30, 0.0, at=0.0)
    assert handover.after(signal.SIGSEGV, LONGEST, "").crash_score == MOST
    assert handover.after(signal.SIGSEGV, LONGEST + 120, "").crash_score == 1


def waited(log: list[str]) -> list[tuple[float, float]]:
    """For each crash in a log: the seconds of wait that were due, and those that it has said."""
    found: list[tuple[float, float]] = []
    for line in log:
        if line.startswith("due "):
            found.append((float(line.removeprefix("due ")), 0.0))
        elif match := re.search(r"waiting ([\d.]+) s", line):
            found[-1] = found[-1][0], float(match[1])
    return found


def test_R28_a_server_that_crashes_at_once_backs_off_and_says_so(start: Starter) -> None:
    server = start("--wait", "--init", CRASH_IN_NEXT_IMAGES)
    server.crash()
    caller = server.call("answer = 'served'")
    with caller.socket:
        # What it says is what is left of a wait: the next image takes a part of it to start.
        until(lambda: any(said >= 2.0 for _, said in waited(server.log)), "a long wait")
        # It can be stopped meanwhile, in order; the caller sees the end.
        server.terminate()
        assert server.wait() == 0
    assert server.log[-1] == "stopped"
    assert not server.path.exists()
    waits = waited(server.log)
    assert all(said <= due + 0.06 for due, said in waits)
    dues = [due for due, _ in waits]
    assert dues[0] == 0
    assert all(after > before for before, after in pairwise(dues))
    assert len(server.logged(CRASHED)) == len(dues) >= 6


def test_R28_callers_that_come_during_the_wait_are_served_after_it(start: Starter) -> None:
    init = "if hasattr(server, 'handover') and server.handover.restarts <= 5: abort()"
    server = start("--wait", "--init", init)
    server.crash()
    until(lambda: any("crashes so far" in line for line in server.log), "a wait")
    assert server.ask("answer = server.handover.restarts") == "6"


def test_R27_a_wait_is_ended_by_a_signal_that_has_come_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, restart.HELD)
    try:
        signal.raise_signal(signal.SIGTERM)
        assert restart.wait(60) is signal.SIGTERM
        assert restart.wait(0) is None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("has_sigtimedwait", [True, False])
def test_R27_a_wait_is_ended_by_a_signal_that_comes(
    has_sigtimedwait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_sigtimedwait:
        monkeypatch.delattr(signal, "sigtimedwait")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, restart.HELD)
    try:
        begin = time.monotonic()
        assert restart.wait(0.02) is None
        assert time.monotonic() - begin >= 0.02
        # To this thread: what is sent to the process may go to one that does not block it.
        timer = threading.Timer(0.02, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
        timer.start()
        assert restart.wait(60) is signal.SIGINT
        timer.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
