"""What open callbacks answer: what can't be made is a 500, and whoever has gone is counted once."""

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
    assert "the open handler raised" in log.records[1].getMessage()


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
    assert "the open handler raised UnicodeEncodeError" in log.text


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("answer", [None, refusal(403, "no")])
def test_who_ends_in_the_open_callback_that_answers_later_is_counted_as_departed_and_no_more(
    answer: Any, keeps: bool
) -> None:
    def leave(conn: Connection, _request: Request) -> Any:
        conn.abort()
        return PENDING

    with Harness(keep_requests=keeps) as harness:
        harness.open_callback = leave
        for _ in range(3):
            harness.connect().send(REQUEST)
        harness.until(lambda: len(harness.opened) == 3)
        assert (harness.engine.connections, harness.engine.departed) == (0, 3)
        assert harness.engine.assembled == 0
        for conn, _ in harness.opened:
            harness.engine.answer(conn, answer)
        assert (harness.engine.departed, harness.engine.assembled) == (0, 0)
        harness.turn()
        # Who is accepted and over already hears of its end.
        assert len(harness.closed) == (3 if answer is None else 0)
