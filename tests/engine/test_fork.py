"""A process that a callback has forked holds copies of the engine's descriptors."""

import os
import select

from tests.support.harness import Harness


def test_a_connection_that_a_forked_child_still_holds_does_not_keep_the_loop_awake(
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
        client.socket.send(b"more")  # the child's copy keeps the other end open
        harness.turn(3)
        assert not select.select([harness.engine.fileno()], [], [], 0.05)[0]
    finally:
        os.close(let_go)
        os.close(wait)
        os.waitpid(child, 0)
