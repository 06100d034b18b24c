"""What becomes of the server of `dorrit dev` when something happens to it, or to its files."""

import sys
from pathlib import Path

import pytest

from dorrit.dev.supervisor import Supervisor, _Child, _Event

FOREVER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
GRACE = 20.0


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Supervisor:
    return Supervisor(FOREVER, tmp_path / "socket", say=said.append, grace=GRACE)


def run(supervisor: Supervisor) -> int:
    return supervisor.run(when_listening="it listens", is_watching=lambda: True)


def test_a_stop_during_a_restart_is_not_lost(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.changed("server.py")
    supervisor.stop()
    assert run(supervisor) == 0
    assert said == ["server.py changed, restarting"]
    assert not supervisor.is_running()


def test_the_news_of_a_run_that_is_over_is_none(supervisor: Supervisor, said: list[str]) -> None:
    supervisor._events.put((_Event.ENDED, None, ""))
    supervisor.stop()
    assert run(supervisor) == 0
    assert said == []


def test_a_server_is_stopped_once_and_its_status_kept() -> None:
    child = _Child(FOREVER, GRACE)
    assert child.stop() == child.stop() == 128 + 15


def test_a_guard_that_cannot_be_started_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = set(Path("/dev/fd").iterdir())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError):
        _Child(FOREVER, GRACE)
    assert set(Path("/dev/fd").iterdir()) == before


LISTENS = """
import os, signal, socket, sys

listener = socket.socket(socket.AF_UNIX)

def stop(*_):
    with open(sys.argv[2], "a") as told:
        print("there" if os.path.exists(sys.argv[1]) else "gone", file=told)
    sys.exit()

signal.signal(signal.SIGTERM, stop)
listener.bind(sys.argv[1])
listener.listen()
while True:
    signal.pause()
"""


def test_clients_that_come_during_a_restart_wait_for_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, told = tmp_path / "socket", tmp_path / "told"

    def say(text: str) -> None:
        if text == "it listens":
            supervisor.changed("server.py")
        elif text == "the server listens again":
            supervisor.stop()

    command = [sys.executable, "-I", "-S", "-c", LISTENS, str(path), str(told)]
    supervisor = Supervisor(command, path, say=say, grace=GRACE)
    between = []

    def is_stop_among_pending() -> bool:
        between.append(supervisor.is_running())
        return False

    monkeypatch.setattr(supervisor, "_is_stop_among_pending", is_stop_among_pending)
    assert run(supervisor) == 0
    assert told.read_text().split() == ["gone", "gone"]
    assert between == [True]
    assert not supervisor.is_running()
