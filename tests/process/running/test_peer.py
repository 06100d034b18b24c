"""Who is at the other end of a socket, as the kernel says."""

import os
import select
import socket

from dorrit.process.running.peer import peer_credentials, peer_pidfd


def test_the_kernel_names_the_process_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_credentials(ours) == (os.getpid(), os.geteuid())


def test_the_kernel_gives_a_descriptor_of_that_very_process() -> None:
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        # The abstract name goes with the process.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0dorrit-test-{os.getpid()}")
            listener.listen()
            os.write(writing, b"1")
            ours.recv(1)
        os._exit(0)
    with ours, theirs, socket.socket(socket.AF_UNIX) as client:
        assert os.read(reading, 1) == b"1"
        client.connect(f"\0dorrit-test-{child}")
        descriptor = peer_pidfd(client)
        assert descriptor is not None
        assert not os.get_inheritable(descriptor)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(0) == []
        theirs.send(b"1")
        os.waitpid(child, 0)
        ((_, events),) = poll.poll(0)
        assert events & select.POLLIN
        os.close(descriptor)
    os.close(reading)
    os.close(writing)


def test_of_what_is_not_connected_nothing_is_known() -> None:
    with socket.socket(socket.AF_UNIX) as unconnected:
        assert peer_pidfd(unconnected) is None
        assert peer_credentials(unconnected) == (0, 2**32 - 1)
