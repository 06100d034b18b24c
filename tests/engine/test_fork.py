"""A process that a callback has forked holds copies of the engine's descriptors."""

import os
import select

import pytest

from dorrit.engine import Connection
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.harness import Harness, LogRecords


def test_a_connection_that_a_forked_child_still_holds_is_over_for_the_client_and_for_the_loop(
    harness: Harness,
) -> None:
    client = harness.open()
    wait, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        os.read(wait, 1)  # until the test is over
        os._exit(0)
    try:
        harness.connection(client).abort()
        harness.settle()
        assert client.ended  # though the child's copy keeps the other end open
        with pytest.raises(BrokenPipeError):
            client.socket.send(b"more")
        harness.turn(3)
        assert not select.select([harness.engine.fileno()], [], [], 0.05)[0]
    finally:
        os.close(let_go)
        os.close(wait)
        os.waitpid(child, 0)


@pytest.mark.parametrize("event", ["open", "message", "close", "periodic", "call", "watched"])
@pytest.mark.parametrize("how", ["exits", "raises", "returns"])
def test_a_turn_in_which_a_callback_forks_ends_in_the_child_and_goes_on_in_the_parent(
    harness: Harness, log: LogRecords, event: str, how: str
) -> None:
    client, other = harness.open(), harness.open()
    parent = os.getpid()
    children: list[int] = []

    def forks(*_: object) -> None:
        if children:  # it is called once more for what the parent hears
            return
        children.append(os.fork())
        if children == [0] and how == "exits":
            raise SystemExit(7)
        if children == [0] and how == "raises":
            raise LookupError

    ends = os.pipe()
    conn = harness.connection(client)
    try:
        match event:
            case "open":
                harness.open_callback = forks
                harness.connect().send(REQUEST)
            case "message":
                harness.message_callback = forks
                client.send(frame(TEXT, b"x"))
            case "close":
                harness.close_callback = forks
                conn.abort()
            case "periodic":
                harness.engine.every(0.001, forks)
            case "call":
                harness.engine.call_soon_threadsafe(forks)
            case "watched":
                harness.engine.watch(ends[0], lambda: forks(os.read(ends[0], 1)))
                os.write(ends[1], b"x")
        while not children:
            harness.turn()
    except SystemExit as error:
        if os.getpid() != parent:
            os._exit(in_the_child(harness, other_conn=harness.connection(other), error=error))
        raise
    finally:
        if os.getpid() != parent:
            os._exit(99)  # the turn went on
        harness.engine.unwatch(ends[0])
        for end in ends:
            os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == (7 if how == "exits" else 1)
    # The child has ended with the engine; its parent's still knows of all its descriptors.
    other.send(frame(TEXT, b"still there?"))
    harness.settle()
    assert harness.messages[-1][2] == b"still there?"


def in_the_child(harness: Harness, other_conn: Connection, error: SystemExit) -> int:
    """Look at what a turn has left in a forked process; return its exit status."""
    harness.engine.own()  # too late: it was forked in a callback
    assert harness.engine.is_forked
    for use in (harness.engine.poll, harness.engine.run):
        with pytest.raises(SystemExit) as raised:
            use()
        assert raised.value is error
    other_conn.abort()
    harness.engine.close()
    assert isinstance(error.code, int)
    return error.code


def test_a_process_that_is_forked_between_two_turns_may_take_the_engine_over(
    harness: Harness,
) -> None:
    client = harness.open()
    client.send(frame(TEXT, b"x"))
    child = os.fork()
    if child == 0:
        try:
            assert harness.engine.is_forked
            harness.engine.own()
            assert not harness.engine.is_forked
            harness.turn()
            os._exit(len(harness.messages))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_what_is_left_of_a_turn_finds_nothing_to_do_in_a_process_forked_in_it(
    harness: Harness,
) -> None:
    """Nobody asks after each callback which process it is: the engine of the child is empty."""
    first, other, ending = harness.open(), harness.open(), harness.open()
    parent = os.getpid()
    children: list[int] = []
    ends = os.pipe()

    def called(*_: object) -> None:
        if os.getpid() != parent:
            os._exit(98)  # it is the parent's

    def forks(*_: object) -> None:
        called()
        if not children:
            harness.connection(ending).abort()  # its close callback is due
            harness.connection(other).send(b"queued")
            harness.engine.call_soon_threadsafe(called)
            children.append(os.fork())

    harness.close_callback = called
    harness.message_callback = forks
    harness.engine.every(0.001, called)
    harness.engine.watch(ends[0], called)
    os.write(ends[1], b"x")
    first.send(frame(TEXT, b"x") * 300)  # more than one turn's
    other.send(frame(TEXT, b"x"))
    try:
        while not children:
            harness.turn()
    except SystemExit:
        os._exit(7)
    finally:
        if os.getpid() != parent:
            os._exit(99)  # the turn went on
        harness.engine.unwatch(ends[0])
        for end in ends:
            os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
    harness.settle()
    assert len(harness.messages) == 301
    assert [got.payload for got in other.frames] == [b"queued"]


def test_T1_in_a_process_that_a_callback_has_forked_nobody_has_topics(harness: Harness) -> None:
    """They are the parent's clients, who get nothing of what the child publishes."""
    client, other = harness.open(), harness.open()
    for one in (client, other):
        harness.connection(one).subscribe("a")
    read, write = os.pipe()

    def forks(conn: Connection, _binary: bool, _payload: bytes) -> None:
        if os.fork() == 0:
            counts = (harness.engine.publish("a", "of the child"), harness.engine.count("a"))
            os.write(write, repr((*counts, conn.subscribe("b"))).encode())
            os._exit(0)

    harness.message_callback = forks
    client.send(frame(TEXT, b"x"))
    harness.until(lambda: harness.messages)
    os.wait()
    assert os.read(read, 100) == b"(0, 0, False)"
    os.close(read)
    os.close(write)
    assert harness.engine.publish("a", "of the parent") == harness.engine.count("a") == 2
    harness.settle()
    assert [frame.payload for frame in other.frames] == [b"of the parent"]
