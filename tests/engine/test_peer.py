"""Who is at the other end, as the kernel says."""

import os

from dorrit.engine import Peer
from tests.support.harness import Harness


def test_the_peer_is_the_process_that_made_the_socket(harness: Harness) -> None:
    conn = harness.connection(harness.open())
    assert conn.peer == Peer(os.getpid(), os.geteuid(), os.getegid())
    assert (conn.peer.pid, conn.peer.uid, conn.peer.gid) == conn.peer
