"""What the service manager is told: the protocol of sd_notify(3).

It is a datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names, and small
enough to be written here. The packages that do it block when the manager does not read, raise while
the server runs, or can't be built without systemd's own library.
"""

import logging
import os
import select
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final, Self

logger: logging.Logger = logging.getLogger("dorrit")

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What the manager has said in the environment."""

NAME_MAX: Final = 107
"""Bytes of the longest address: what sun_path of unix(7) holds, without its NUL."""

STATUS_MAX: Final = 500
"""Characters of the longest status line."""

READY_TIMEOUT: Final = 5.0
"""Seconds for the manager to have room for ``READY=1``, without which it gives the server up."""

DIGITS_MAX: Final = 20
"""Of a number of microseconds of 64 bits."""


class Notifier:
    """Tells the service manager how the server is; does nothing where there is none.

    None of its methods raises, and only `ready` may wait. What can't be sent is logged once.

    Attributes:
        address: Where to; None if nobody wants to know. An abstract one begins with NUL.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        """Make one; see also `from_environment`.

        Args:
            address: A path, or NUL and a name, at most `NAME_MAX` bytes; None: nobody listens.
            watchdog: Seconds after which the manager ends a server that it has not heard of.
        """
        self.address = address
        self._watchdog = watchdog
        self._failed = False
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(0)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] | None = None) -> Self:
        """Take the manager's variables out of the environment, so that no child inherits them.

        To be called early: ``WATCHDOG_PID`` is the pid of the command, before it forks. A value
        that can't be right is logged and taken as none, since the server can do without.

        Args:
            environment: That of the process, if None.
        """
        if environment is None:
            environment = os.environ
        values = [environment.pop(name, "") for name in VARIABLES]
        address = None
        try:
            address = _address(values[0])
        except ValueError as error:
            logger.warning("NOTIFY_SOCKET=%s is ignored: %s", ascii(values[0])[:200], error)
        watchdog = None
        try:
            watchdog = _watchdog(values[1], values[2])
        except ValueError as error:
            logger.warning("WATCHDOG_USEC=%s is ignored: %s", ascii(values[1])[:200], error)
        return cls(address, watchdog if address is not None else None)

    @property
    def watchdog(self) -> float | None:
        """Seconds after which the manager ends a server that it has not heard of, or None."""
        return self._watchdog

    def watchdog_interval(self) -> float | None:
        """Return how many seconds may pass between two calls of `alive`; None: none are wanted.

        sd_watchdog_enabled(3): "it is recommended that a daemon sends a keep-alive notification
        message to the service manager every half of the time returned here".
        """
        return None if self._watchdog is None else self._watchdog / 2

    def ready(self, status: str = "", *, main_pid: int | None = None) -> None:
        """Say that the server serves.

        Args:
            status: One line for the administrator, if there is something to say.
            main_pid: The daemon's pid, if it is no longer the process that the manager started.
        """
        lines = ["READY=1"]
        if main_pid is not None:
            lines.append(f"MAINPID={main_pid}")
        if status:
            lines.append(_status(status))
        self._send(*lines, timeout=READY_TIMEOUT)

    def status(self, text: str) -> None:
        """Say something in one line to the administrator."""
        self._send(_status(text))

    def reloading(self) -> None:
        """Say that the server is about to be reloaded; `ready` says that it has been.

        sd_notify(3): "the combination of RELOADING=1 and MONOTONIC_USEC=".
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the server stops."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Say that the server's loop still turns, if the manager wants to hear it."""
        if self._watchdog is not None:
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def let_go(self) -> None:
        """Leave the word to the server, in a process that was forked off that."""
        self.close()

    def _send(self, *lines: str, timeout: float = 0.0) -> None:
        if self._socket is None or self.address is None:
            return
        data = "\n".join(lines).encode(errors="backslashreplace")
        try:
            try:
                self._socket.sendto(data, self.address)
            except BlockingIOError:
                if not timeout:
                    raise
                _wait_for_room(self._socket, self.address, timeout)
                self._socket.sendto(data, self.address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.warning("the service manager can't be told %s: %s", lines[0], error.strerror)


def _wait_for_room(notifier: socket.socket, address: str, seconds: float) -> None:
    """Wait until the manager has read something.

    A datagram socket that is not connected is always writable: whether there is room at the other
    end is known only of one that is.
    """
    with suppress(OSError):
        notifier.connect(address)
    poll = select.poll()
    poll.register(notifier, select.POLLOUT)
    poll.poll(seconds * 1000)


def _address(value: str) -> str | None:
    """Return the address that `NOTIFY_SOCKET` names.

    sd_notify(3): "If it starts with "@" ... an abstract namespace socket"; else it is a path. Newer
    systemd also knows ``vsock:``, for virtual machines.

    Raises:
        ValueError: It is neither a path nor an abstract name.
    """
    if not value:
        return None
    if value[0] not in "/@" or len(value) == 1:
        raise ValueError("it is neither an absolute path nor @ and a name")
    if "\0" in value:
        raise ValueError("it has a NUL character in it")
    if len(os.fsencode(value)) > NAME_MAX:
        raise ValueError(f"it is longer than {NAME_MAX} bytes")
    return "\0" + value[1:] if value[0] == "@" else value


def _watchdog(microseconds: str, pid: str) -> float | None:
    """Return the seconds that the manager waits for a sign of life; None: it does not.

    sd_watchdog_enabled(3): ``WATCHDOG_PID`` must be "the PID of the current process", or be unset.

    Raises:
        ValueError: It is not a positive number.
    """
    if not microseconds or (pid and pid != str(os.getpid())):
        return None
    is_number = microseconds.isascii() and microseconds.isdigit()
    if not is_number or len(microseconds) > DIGITS_MAX or int(microseconds) == 0:
        raise ValueError("it is not a positive number of microseconds")
    return int(microseconds) / 1_000_000


def _status(text: str) -> str:
    """Return a line of the protocol; a line end inside would begin another one."""
    return "STATUS=" + " ".join(text.split())[:STATUS_MAX]
