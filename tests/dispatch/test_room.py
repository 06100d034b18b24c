"""`drain` and the open handler, behind which everything that is sent has to wait."""

import asyncio
import re

import pytest

from dorrit import Connection, Reject, Server
from dorrit.testing import Closed, Rejected, serve
from tests.support.harness import LogRecords

MANY = 500
LINES = [str(number) for number in range(MANY)]


async def send_many(conn: Connection) -> None:
    for line in LINES:
        assert conn.send(line)
        await conn.drain()


def test_in_an_open_handler_drain_is_an_error_that_says_what_to_do(log: LogRecords) -> None:
    app, raised = Server(), []

    @app.on_open
    async def opened(conn: Connection) -> None:
        for wait in (0.0, 0.001):
            await asyncio.sleep(wait)
            with pytest.raises(RuntimeError, match=re.escape("asyncio.create_task")) as error:
                await conn.drain()
            raised.append(str(error.value))

    with serve(app) as server, server.connect():
        pass
    assert len(raised) == 2
    assert "what that sends is written when it has returned" in raised[0]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("seconds", [0, 0.01])
def test_a_task_of_an_open_handler_may_send_more_than_the_queue_holds(
    is_async: bool, seconds: float, log: LogRecords
) -> None:
    app, tasks = Server(), []

    def opened(conn: Connection) -> None:
        tasks.append(asyncio.create_task(send_many(conn)))

    async def opened_later(conn: Connection) -> None:
        opened(conn)
        await asyncio.sleep(seconds)  # the task has begun meanwhile, and waits

    app.on_open(opened_later if is_async else opened)
    with serve(app) as server, server.connect() as client:
        assert [client.receive() for _ in LINES] == LINES
    assert "does not read" not in log.text
    assert all(task.done() and task.exception() is None for task in tasks)


@pytest.mark.parametrize("goes", [False, True])
def test_who_waits_for_a_client_that_is_refused_or_goes_gets_on(
    goes: bool, log: LogRecords
) -> None:
    app, drained = Server(), []

    async def fill(conn: Connection) -> None:
        while conn.pending <= MANY // 4:
            conn.send("x")
        await conn.drain()
        drained.append(conn.is_open)

    @app.on_open
    async def opened(conn: Connection) -> None:
        task = asyncio.create_task(fill(conn))
        await asyncio.sleep(0.01)
        assert not task.done()
        conn.data = task
        if goes:
            conn.abort()
        raise Reject(403)

    with serve(app) as server:
        with pytest.raises((Rejected, Closed)), server.connect():
            pass
        server.run(0.01)
    assert drained == [False]
