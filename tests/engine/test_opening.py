"""The answer of an open callback that can't be made: the client gets a 500 all the same."""

from typing import Any

import pytest

from dorrit.engine import PENDING, Connection
from dorrit.protocol.handshake import Request
from dorrit.protocol.refusal import refusal
from tests.support.frames import REQUEST
from tests.support.harness import Harness, LogRecords


def no_refusal() -> Any:
    return "no refusal"


def broken() -> Any:
    answer = refusal(400, "broken")
    answer.content = 5  # type: ignore[assignment]
    return answer


@pytest.mark.parametrize("make", [no_refusal, broken])
@pytest.mark.parametrize("later", [False, True])
def test_an_answer_that_can_not_be_made_is_500_and_logged_as_what_a_callback_raises(
    harness: Harness, log: LogRecords, make: Any, later: bool
) -> None:
    harness.open_callback = lambda conn, request: PENDING if later else make()
    client = harness.connect()
    client.send(REQUEST)
    if later:
        harness.settle()
        assert client.status is None
        harness.engine.answer(harness.opened[0][0], make())
    harness.until(lambda: client.ended)
    assert client.status == 500
    client.close()
    harness.until(lambda: harness.engine.connections == 0)
    assert harness.closed == []
    assert [r.levelname for r in log.records] == ["WARNING", "ERROR"]
    assert "refused, 500" in log.records[0].getMessage()
    assert "the open callback raised" in log.records[1].getMessage()


@pytest.mark.parametrize("later", [False, True])
def test_a_101_that_can_not_be_made_is_a_500(
    harness: Harness, log: LogRecords, later: bool
) -> None:
    def choose(_conn: Connection, request: Request) -> Any:
        request._subprotocol = "ä€"
        return PENDING if later else None

    harness.open_callback = choose
    client = harness.connect()
    client.send(REQUEST)
    if later:
        harness.settle()
        harness.engine.answer(harness.opened[0][0], None)
    harness.until(lambda: client.ended)
    assert client.status == 500
    assert harness.closed == []
    assert "the open callback raised UnicodeEncodeError" in log.text
