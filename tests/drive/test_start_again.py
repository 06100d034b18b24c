"""The start after a crash; most of it is seen in processes, in tests/integration."""

import contextlib
import types
from typing import Any, NoReturn

import pytest

from dorrit.drive import start_again
from dorrit.errors import StartError
from dorrit.settings import Settings
from tests.support.harness import LogRecords


def test_a_daemon_that_cannot_start_again_says_so_in_its_log(
    monkeypatch: pytest.MonkeyPatch, log: LogRecords
) -> None:
    said: list[object] = []

    def fail(_handover: object, *, daemon: bool) -> NoReturn:
        assert daemon
        raise StartError("the file has gone")

    monkeypatch.setattr(start_again.Resources, "adopt", fail)
    no_log = types.SimpleNamespace(
        use_syslog=said.append,
        leave_terminal=lambda: said.append("leaves the terminal"),
        take_prints=lambda: said.append("takes prints"),
    )
    process: Any = types.SimpleNamespace(
        log=no_log,
        settings=Settings(),
        starting=contextlib.nullcontext,
        hold=said.append,
        worker=None,
    )
    handover: Any = types.SimpleNamespace(daemon=True, name="chat", reload=None, ledger=None)
    with pytest.raises(StartError, match="the file has gone"):
        start_again.start_again(process, handover)
    assert said == ["chat", "leaves the terminal", "takes prints"]
    assert "the server can't go on after a crash: the file has gone" in log.text
