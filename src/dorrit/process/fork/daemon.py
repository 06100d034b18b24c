"""Becoming a daemon (R22), while the command that starts it waits for its word.

Three processes: the *command*, which the administrator started; the *session*, which it forks, and
which leads a new session; and the *daemon*, which that one forks. The daemon leads no session, so
no terminal that it opens can become its controlling terminal. The session stays until the daemon is
ready, as its parent: so the command learns how a daemon ended that could not say anything any more.

    command ── fork ── session: setsid ── fork ── daemon
       │ waits for       │ waits for the word       │ socket, pid file, privileges
       │ the session     │ or the end of   ◄─────── │ ready() or failed()
       ▼                 ▼                          ▼
     _exit             _exit                      serves
"""

import logging
import os
import select
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

from dorrit.errors import StartError
from dorrit.process.fork import children

logger: logging.Logger = logging.getLogger("dorrit")

UMASK: Final = 0o027
"""What the server's own files begin with: not writable for its group, nothing for others."""

END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""With these an administrator may end a command that waits. The daemon then gets SIGTERM."""

INTERVAL: Final = 0.1
"""Seconds between two looks whether a daemon that has not said anything still lives."""

SHORT_INTERVAL: Final = 0.01
"""Seconds between two looks at one that is about to end."""

READY: Final = b"0"
"""The daemon's word that it serves. Otherwise it is the exit status, a space and a message."""

END: Final = b"\n"
"""Ends the daemon's word. Not the end of the pipe: a process forked off the daemon has that too."""

MAX_STATUS: Final = 255


class Readiness:
    """In the daemon: its word to the command that waits. One of the two methods is called once.

    Until then the standard streams are the command's, so that whatever goes wrong is seen.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the writing end of a pipe."""
        self._descriptor = descriptor

    def ready(self) -> None:
        """Connect the standard streams to /dev/null and have the command return 0.

        Raises:
            StartError: There is no /dev/null. The command still waits.
        """
        leave_streams()
        self._say(READY)

    def failed(self, message: str, status: int = 1) -> None:
        """Have the command print a line on stderr and exit when this process has ended.

        Args:
            message: The line, without its end.
            status: The command's exit status, 1 to 255.

        Raises:
            ValueError: `status` is out of range.
        """
        if not 1 <= status <= MAX_STATUS:
            raise ValueError(f"{status} is not an exit status of a failure")
        _flush()  # what was printed before comes first
        line = " ".join(message.splitlines()).encode(errors="backslashreplace")
        self._say(b"%d %b" % (status, line))

    @property
    def descriptor(self) -> int:
        """That of the pipe; -1: all is said."""
        return self._descriptor

    def let_go(self) -> None:
        """Say nothing, in a process that was forked off this one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _say(self, word: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            _write(descriptor, word + END)
        except OSError:
            logger.debug("the command that started the server did not wait for it")
        finally:
            os.close(descriptor)


def detach() -> Readiness:
    """Go on as a daemon: in a new session without a terminal, in ``/``, with the umask `UMASK`.

    The command and the session never return from here. They end by _exit(2), so neither atexit
    handlers nor finalisers run in them, and what the server has opened is not undone (R8). The
    standard streams are flushed before. SIGINT and SIGHUP are ignored in the daemon until they get
    handlers. If the command is interrupted while it waits, the daemon gets SIGTERM.

    Raises:
        StartError: The system can't fork. The process is what it was.
    """
    if threading.active_count() > 1:
        logger.warning(
            "threads that ws_init_func has started end when the server becomes a daemon: fork(2) "
            "copies only the thread that calls it; start them later, or use -x"
        )
    _flush()
    word_reader, word_writer = os.pipe()  # the daemon's word, to the session
    before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    # The two that wait need its default: no handler of the server's, and statuses that are kept.
    at_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        session = _fork()
    except OSError as error:
        children.put_back(signal.SIGCHLD, at_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in (word_reader, word_writer):
            os.close(descriptor)
        raise StartError(f"can't become a daemon: {error.strerror}") from None
    if session != 0:
        _end_as_command(session, (word_reader, word_writer))
    try:
        os.setsid()
        daemon = _fork()
    except OSError as error:
        _print(f"can't become a daemon: {error.strerror}")
        os._exit(1)
    if daemon != 0:
        _end_as_session(daemon, word_reader, word_writer)
    os.close(word_reader)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children.put_back(signal.SIGCHLD, at_child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    leave_directory()
    return Readiness(word_writer)


def leave_streams() -> None:
    """Connect the standard streams to /dev/null.

    Raises:
        StartError: There is none.
    """
    _flush()
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
    except OSError as error:
        raise StartError(f"{os.devnull}: {error.strerror}") from None
    if null > 2:  # noqa: PLR2004 - stderr
        os.close(null)


def leave_directory() -> None:
    """Go to ``/`` with the umask `UMASK`; `detach` does, and the next image of a daemon must."""
    os.chdir("/")
    os.umask(UMASK)


def _fork() -> int:
    with children.heirs(), warnings.catch_warnings():
        # Python 3.12 warns of a fork with threads; so do we, in words for the server's author.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _end_as_command(session: int, unused: tuple[int, ...]) -> NoReturn:
    """Wait for the session's end, and exit as it does."""
    status = 1
    try:
        for descriptor in unused:
            os.close(descriptor)

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            # Each signals its own child only, whose pid is no other's before it is waited for.
            os.kill(session, signal.SIGTERM)

        for number in END_SIGNALS:
            signal.signal(number, interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        if hasattr(os, "waitid"):  # macOS has none
            os.waitid(os.P_PID, session, os.WEXITED | os.WNOWAIT)
            signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
        ended = os.waitstatus_to_exitcode(os.waitpid(session, 0)[1])
        if ended < 0:
            _print(f"the process that starts the server was ended by {_name(-ended)}")
        else:
            status = ended
    finally:
        os._exit(status)


def _end_as_session(daemon: int, word_reader: int, word_writer: int) -> NoReturn:
    """Wait for the daemon's word or end; exit with 0 if it is ready."""
    status = 1
    try:
        os.close(word_writer)
        word, ended = _word(daemon, word_reader)
        if word == READY:
            status = 0
        elif word:
            digits, _, message = word.partition(b" ")
            status = int(digits)
            _print(message.decode(errors="replace"))
            if ended is None:
                _end_of(daemon)  # what it has made is gone when the command returns
        else:
            code = _end_of(daemon) if ended is None else ended
            _print(end_in_words(os.waitstatus_to_exitcode(code)))
    finally:
        os._exit(status)


def _word(daemon: int, reader: int) -> tuple[bytes, int | None]:
    """Return the daemon's word, b"" if it ended without, and its wait status if it has been seen.

    Its end is looked for as well as that of the pipe, which a process forked off it may hold open.
    """
    text = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        _pass_on_signals(daemon)
        ended = os.waitpid(daemon, os.WNOHANG)
        # Only now: what it has said before its end is in the pipe.
        while poll.poll(0 if ended[0] else INTERVAL * 1000):
            data = os.read(reader, 4096)
            text += data
            if END in text:
                return text.partition(END)[0], ended[1] if ended[0] else None
            if not data:
                return b"", ended[1] if ended[0] else None
        if ended[0]:
            return b"", ended[1]


def _end_of(daemon: int) -> int:
    """Wait for the daemon's end; return its wait status."""
    while True:
        _pass_on_signals(daemon)
        pid, status = os.waitpid(daemon, os.WNOHANG)
        if pid:
            return status
        time.sleep(SHORT_INTERVAL)


def _pass_on_signals(daemon: int) -> None:
    """Send SIGTERM to the daemon, which has not been waited for, if the command has had a signal.

    Those signals stay blocked in the session.
    """
    pending = signal.sigpending() & set(END_SIGNALS)
    if pending:
        signal.sigwait(pending)
        os.kill(daemon, signal.SIGTERM)


def end_in_words(code: int) -> str:
    """Return in words how a process has ended that was to become ready.

    Args:
        code: Its exit status; negative: the signal that has ended it.
    """
    if code < 0:
        return f"the server was ended by {_name(-code)} before it was ready"
    return f"the server exited with status {code} before it was ready"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _print(line: str) -> None:
    """Print a line on stderr, past Python's buffers, which are copies of the command's."""
    with suppress(OSError):  # whoever closed it does not want to know
        _write(2, f"dorrit: {line}\n".encode(errors="backslashreplace"))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None: the descriptor was closed when the program was started. ValueError: since then.
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
