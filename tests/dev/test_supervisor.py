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
