"""The order of a server's life; most of it is seen in processes, in tests/integration."""

import types
from typing import Any, NoReturn

import pytest

from dorrit.drive.run_settings import RunSettings
from dorrit.drive.serving import Run
from dorrit.errors import StartError
from tests.support.harness import LogRecords


def test_a_daemon_that_cannot_start_again_says_so_in_its_log(
    monkeypatch: pytest.MonkeyPatch, log: LogRecords
) -> None:
    said: list[object] = []

    def fail(_run: Run, _handover: object) -> NoReturn:
        raise StartError("the file has gone")

    monkeypatch.setattr(Run, "_start_again", fail)
    run = Run.__new__(Run)
    no_log: Any = types.SimpleNamespace(
        use_syslog=said.append,
        leave_terminal=lambda: said.append("leaves the terminal"),
        take_prints=lambda: said.append("takes prints"),
    )
    run.log = no_log
    run._settings = RunSettings({})
    handover: Any = types.SimpleNamespace(daemon=True, name="chat")
    with pytest.raises(StartError, match="the file has gone"):
        run.start_again(handover)
    assert said == ["chat", "leaves the terminal", "takes prints"]
    assert "the server can't go on after a crash: the file has gone" in log.text
