"""A log daemon at /dev/log, in the place of the one that may run there."""

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import TIMEOUT

DEV_LOG = Path("/dev/log")

FACILITY_DAEMON = 3 << 3


class LogDaemon:
    """Takes what programs send to syslog; in the place of a log daemon, if none runs.

    Attributes:
        identities: Whose messages these are about: those of other programs are passed over.
    """

    def __init__(self, *identities: str) -> None:
        self.identities = identities

    def listen(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind(str(DEV_LOG))
        DEV_LOG.chmod(0o666)

    def stop(self) -> None:
        self.socket.close()
        DEV_LOG.unlink()

    def datagram(self) -> bytes:
        """The next message as it has come."""
        while True:
            data = self.socket.recv(1 << 16)
            if any(f"{identity}[".encode() in data for identity in self.identities):
                return data

    def received(self) -> tuple[int, str, int, str]:
        """The next message: its priority, identity, pid, and text."""
        data = self.datagram().rstrip(b"\0").decode()
        # RFC 3164: <priority>, date, identity[pid]: text. syslog(3) leaves out the host.
        found = re.fullmatch(r"<(\d+)>\w{3} [ \d]\d [\d:]{8} (.*?)\[(\d+)\]: (.*)", data, re.DOTALL)
        assert found, data
        return int(found[1]), found[2], int(found[3]), found[4]

    def texts(self) -> list[str]:
        """The texts of all messages until the last, which says "the end"."""
        texts = []
        while (text := self.received()[3]) != "the end":
            texts.append(text)
        return texts

    def drain(self) -> None:
        """Throw away what waits."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(1 << 16)
        self.socket.settimeout(TIMEOUT)

    @property
    def is_silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.datagram()
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        return False

    def until_said(self, text: str) -> list[str]:
        """The texts of the messages until one that has `text` in it."""
        texts: list[str] = []
        while not texts or text not in texts[-1]:
            texts.append(self.received()[3])
        return texts


@contextlib.contextmanager
def no_log_daemon() -> Iterator[None]:
    """None can be reached; one that runs is left alone and comes back."""
    alone = os.open("/dev", os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)
        aside = DEV_LOG.with_name("log-aside-for-a-test")
        with contextlib.suppress(FileNotFoundError):
            DEV_LOG.rename(aside)
        yield
        with contextlib.suppress(FileNotFoundError):
            aside.rename(DEV_LOG)
    finally:
        os.close(alone)


@contextlib.contextmanager
def log_daemon(*identities: str) -> Iterator[LogDaemon]:
    """It takes what all programs on this machine send to syslog, and keeps what some of them do."""
    with no_log_daemon():
        made = LogDaemon(*identities)
        made.listen()
        try:
            yield made
        finally:
            made.stop()
