"""What a server that crashes or is reloaded leaves to its next image (R29), and its check there.

It lies in a file without a name: a record that the crash handler writes, then this module's mark,
then JSON. The next image believes none of it before it has seen that the file was made by the very
same process, and that each descriptor is still what it was.
"""

import json
import os
import re
import socket
import stat
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from signal import Signals, strsignal
from typing import Any, Final, Self, TypeVar

from dorrit.errors import StartError
from dorrit.process.exec import backoff

RECORD: Final = struct.Struct("=Qqq")
"""The crash handler's record: the signal, and when, in seconds and nanoseconds."""

MARK: Final = b"dorrit 1"
"""Follows the record. Other versions of the library may mean something else by the rest."""

DIGITS_MAX: Final = 9
"""Of a descriptor's number."""

SIZE_MAX: Final = 1 << 24
"""Bytes of the largest file that is read: the numbers of a million connections."""

TRACEBACK_MAX: Final = 16 * 1024
"""Characters of a traceback; a hundred threads, a hundred frames each, would fill the log."""

CRASH_TIMES_MAX: Final = 32
"""Crashes whose times are kept."""

FATAL: Final = frozenset(
    {Signals.SIGSEGV, Signals.SIGBUS, Signals.SIGABRT, Signals.SIGFPE, Signals.SIGILL}
)
"""The signals that a crash is. The manual names the first two (R28)."""


LEDGER: Final = "ledger of the connections"
"""What that is called among what is kept."""

THREAD_NUMBER: Final = re.compile(r"^((?:Current t|T)hread) 0x[0-9a-f]+", re.MULTILINE)
"""How faulthandler begins what it says of a thread."""


class NoHandoverError(Exception):
    """What was found is not the inheritance of this process; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What the next image is told of the reload that has made it.

    Attributes:
        began: When it was decided, in seconds of CLOCK_MONOTONIC.
        until: By when the new code must serve; later everybody is told to come again.
        timeout: Seconds that were given to it.
        failures: How many starts of the new code have failed.
        failed_at: When the last of them did.
    """

    began: float
    until: float
    timeout: float
    failures: int = 0
    failed_at: float = 0.0

    @classmethod
    def begun(cls, timeout: float) -> Self:
        """Return one that is decided now."""
        return cls(began=_now(), until=_now() + timeout, timeout=timeout)

    def failed(self) -> Self:
        """Return this as the next image has it after one more failure."""
        return replace(self, failures=self.failures + 1, failed_at=_now())

    def again(self) -> Self:
        """Return this with all of its time: somebody wants it to be tried now."""
        return replace(self, until=_now() + self.timeout)

    def delay(self) -> float:
        """Return for how many seconds from now on the start is not to be tried again."""
        next_try = self.failed_at + backoff.wait_after_crash(self.failures)
        return max(0.0, min(next_try, self.until) - _now())

    def spent(self) -> float:
        """Return the seconds since it was decided."""
        return _now() - self.began

    def left(self) -> float:
        """Return the seconds that the new code has; not positive: it has none."""
        return self.until - _now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloads:
    """What has been reloaded since the server was started; for `dorrit status`.

    Attributes:
        attempts: How often somebody wanted it.
        state: What has come of the last attempt: `CHECKING`, `REFUSED`, `STARTING`, `FAILED` or
            `DONE`; "" if there was none.
        reason: Why that was refused or has failed, one line; "" if it was not.
        count: How often the new code has come to serve.
    """

    attempts: int = 0
    state: str = ""
    reason: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The last restart in place after which the server came to serve; for `dorrit status`.

    Attributes:
        kind: `CRASH` or `RELOAD`; "" if there was none.
        carried: How many connections go on.
        lost: How many could not be carried over.
        seconds: How long that took, from the crash or the decision on.
    """

    kind: str = ""
    carried: int = 0
    lost: int = 0
    seconds: float = 0.0


CRASH: Final = "crash"
RELOAD: Final = "reload"

CHECKING: Final = "checking"
REFUSED: Final = "refused"
STARTING: Final = "starting"
FAILED: Final = "failed"
DONE: Final = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What one image of a server leaves to the next.

    Attributes:
        name: The server's.
        socket: Path of its socket.
        listener: The listening socket's descriptor.
        pid_file: Path of the pid file, or None.
        pid_descriptor: Its descriptor, or None.
        kept: Whatever else shall stay open: what it is, and its descriptor.
        first_start: When the first image started, in seconds since the epoch.
        restarts: How many images came after it.
        crash_times: When the last of them ended, in seconds of CLOCK_MONOTONIC, ascending.
        daemon: The process is a daemon.
        crash_score: How often and how lately it has crashed; see `dorrit.process.exec.backoff`.
        signal: What ended the last one, or None.
        traceback: What its threads were doing, many lines, all printable; may be empty.
        untouched: Descriptors that the command had inherited.
        carried: The descriptors of connections that the ledger tells of.
        reload: The reload that is under way, or None.
        reloads: What has come of the reloads so far.
        last: The last restart, of either kind.
        elsewhere: The connections have other descriptors here than the ledger says, which was
            another process's.
        supervised: What a supervisor goes on with besides (`dorrit.drive.supervisor`); None: it is
            no supervisor's.
        down_since: When the crash was, or the first of several, after which the server has not come
            to serve yet, in seconds of CLOCK_MONOTONIC; None: it has.
    """

    name: str
    socket: str
    listener: int
    pid_file: str | None = None
    pid_descriptor: int | None = None
    kept: Mapping[str, int] = field(default_factory=dict)
    first_start: float = field(default_factory=time.time)
    restarts: int = 0
    crash_times: tuple[float, ...] = ()
    crash_score: float = 0.0
    daemon: bool = False
    signal: Signals | None = None
    traceback: str = ""
    untouched: frozenset[int] = frozenset()
    carried: tuple[int, ...] = ()
    reload: Reload | None = None
    reloads: Reloads = field(default_factory=Reloads)
    last: Restart = field(default_factory=Restart)
    down_since: float | None = None
    supervised: Mapping[str, Any] | None = None
    elsewhere: bool = False

    @property
    def ledger(self) -> int | None:
        """The descriptor of the file that tells of connections; None: there are none."""
        return self.kept.get(LEDGER)

    def carrying(self, ledger: int, carried: Iterable[int]) -> Self:
        """Return this with connections."""
        return replace(self, kept={**self.kept, LEDGER: ledger}, carried=tuple(carried))

    def without_connections(self) -> Self:
        """Return this as it is when they have been taken, or are over."""
        kept = {what: number for what, number in self.kept.items() if what != LEDGER}
        return replace(self, kept=kept, carried=(), reload=None, down_since=None)

    def restart(self, carried: int, lost: int) -> Restart | None:
        """Return the restart that this was left for, and that is over now; None: it is the start.

        Args:
            carried: How many connections go on.
            lost: How many could not be carried over.
        """
        if self.reload is not None:
            kind, seconds = RELOAD, self.reload.spent()
        elif self.down_since is not None:
            kind, seconds = CRASH, _now() - self.down_since
        else:
            return None
        return Restart(kind=kind, carried=carried, lost=lost, seconds=max(0.0, seconds))

    @property
    def descriptors(self) -> dict[int, str]:
        """What each descriptor is; for messages."""
        named = {descriptor: f"the {what}" for what, descriptor in self.kept.items()}
        if self.pid_descriptor is not None:
            named[self.pid_descriptor] = "the pid file"
        named[self.listener] = "the listening socket"
        return named

    def report(self) -> list[str]:
        """Return the crash in words, line by line, for the log; nothing if there was none."""
        if self.signal is None:
            return []
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.first_start))
        how = "another process goes on" if self.elsewhere else "restarted in place"
        restart = f"restart {self.restarts} since {since}"
        first = f"crashed: {self.signal.name} ({strsignal(self.signal)}); {how}: {restart}"
        lines = [line for line in self.traceback.splitlines() if line]
        if self.signal is Signals.SIGKILL:
            first = f"killed: SIGKILL; {how}: {restart}"
            lines = lines or [
                "somebody has done that, or the kernel for want of memory: see its log"
            ]
        return [first, *(lines or ["the crash has left no traceback"])]

    def delay(self) -> float:
        """Return for how many seconds from now on nothing is to be served.

        That is after a crash, or after a start of new code that has failed, within its time.
        """
        after_crash = min(backoff.LONGEST, max(0.0, self._serves_from() - _now()))
        if self.reload is None:
            return after_crash
        if self.signal is None:
            return self.reload.delay()
        return max(0.0, min(after_crash, self.reload.left()))

    def _serves_from(self) -> float:
        """Return when the wait after the last crash is over, by CLOCK_MONOTONIC."""
        if not self.crash_times:
            return 0.0
        return self.crash_times[-1] + backoff.wait_after_crash(self.crash_score)

    def after(self, crash: Signals, at: float, traceback: str) -> Self:
        """Return this as the next image has it."""
        return replace(
            self,
            restarts=self.restarts + 1,
            crash_times=(*self.crash_times, at)[-CRASH_TIMES_MAX:],
            crash_score=backoff.score_after_crash(self.crash_score, at - self._serves_from()),
            signal=crash,
            traceback=traceback,
            down_since=at if self.down_since is None else self.down_since,
        )


def _now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def encoded(handover: Handover) -> bytes:
    """Return a handover for another process, in which no descriptor means the same."""
    alone = replace(
        handover, listener=-1, pid_file=None, pid_descriptor=None, kept={}, untouched=frozenset(),
        carried=(), supervised=None,
    )  # fmt: skip
    content = _content_of(alone)
    content["signal"] = None if handover.signal is None else int(handover.signal)
    content["traceback"] = handover.traceback
    return json.dumps(content).encode("ascii")


def decoded(text: bytes) -> Handover:
    """Return what `encoded` has made, whoever has sent it.

    Raises:
        ValueError: It is nothing of that kind.
    """
    try:
        content = json.loads(text)
        handover = _handover_of(content)
        number = _typed(content["signal"], int, None.__class__)
        return replace(
            handover, listener=-1, pid_file=None, pid_descriptor=None, kept={}, carried=(),
            signal=None if number is None else Signals(number),
            traceback=_typed(content["traceback"], str),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"a part of it is missing or wrong: {error!r}") from None


def leave(handover: Handover, descriptor: int, traceback: int) -> None:
    """Leave to the next image what is known before a crash, or for a reload.

    Args:
        handover: All of it but what a crash will tell.
        descriptor: Of the file.
        traceback: The file that the traceback will be in; inherited as well.

    Raises:
        OSError: A descriptor of it is not open.
    """
    content = {
        **_content_of(handover),
        "pid": os.getpid(),
        "traceback": traceback,
        "identities": {
            str(number): _identity(number) for number in (*handover.descriptors, traceback)
        },
        "supervised": handover.supervised,
    }
    data = RECORD.pack(0, 0, 0) + MARK + json.dumps(content).encode("ascii")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def _content_of(handover: Handover) -> dict[str, Any]:
    return {
        "name": handover.name,
        "socket": handover.socket,
        "listener": handover.listener,
        "pid_file": handover.pid_file,
        "pid_descriptor": handover.pid_descriptor,
        "kept": dict(handover.kept),
        "first_start": handover.first_start,
        "restarts": handover.restarts,
        "crash_times": handover.crash_times,
        "crash_score": handover.crash_score,
        "daemon": handover.daemon,
        "untouched": sorted(handover.untouched),
        "carried": handover.carried,
        "reload": None if handover.reload is None else asdict(handover.reload),
        "reloads": asdict(handover.reloads),
        "last": asdict(handover.last),
        "down_since": handover.down_since,
    }


def take_over(value: str) -> Handover:
    """Read what the last image has left, and make its descriptors close on exec again.

    Args:
        value: What the environment says: the descriptor of the file. It and that of the traceback
            are closed.

    Raises:
        NoHandoverError: It isn't left for this process; nothing has been touched.
        StartError: It is, and a descriptor is gone or has become something else.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX):
        raise NoHandoverError(f"{value[:20]!r} is not a descriptor's number")
    descriptor = int(value)
    crash, at, content = _read(descriptor)
    try:
        handover = _handover_of(content)
        if crash is None and handover.reload is None and handover.supervised is None:
            raise NoHandoverError("it tells of no crash")
        traceback = content["traceback"]
        identities = {int(number): tuple(of) for number, of in content["identities"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoHandoverError(f"a part of it is missing or wrong: {error!r}") from None
    os.close(descriptor)
    for number, what in handover.descriptors.items():
        _check(number, identities.get(number), what, handover)
        os.set_inheritable(number, False)
    if handover.supervised is None and not _listens(handover.listener):
        raise StartError(f"{_lost(handover)}: the listening socket listens no more")
    text = ""
    with suppress(OSError):
        if _identity(traceback) == identities.get(traceback):
            text = read_traceback(traceback)
            os.close(traceback)
    return handover if crash is None else handover.after(crash, at, text)


def _read(descriptor: int) -> tuple[Signals | None, float, dict[str, Any]]:
    """Return the crash that ended the last image, if one did, when, and what it left."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink:
            raise NoHandoverError("it is not a file without a name")
        if status.st_uid != os.geteuid():
            raise NoHandoverError(f"it belongs to the user {status.st_uid}")
        data = os.pread(descriptor, SIZE_MAX, 0)
    except OSError as error:
        raise NoHandoverError(f"it can't be read: {error.strerror}") from None
    if len(data) == SIZE_MAX or data[RECORD.size :][: len(MARK)] != MARK:
        raise NoHandoverError("it has another format")
    number, seconds, nanoseconds = RECORD.unpack_from(data)
    try:
        content = json.loads(data[RECORD.size + len(MARK) :])
    except ValueError:
        raise NoHandoverError("it is damaged") from None
    if not isinstance(content, dict) or content.get("pid") != os.getpid():
        raise NoHandoverError("it is another process's")
    if number not in {0, *FATAL}:
        raise NoHandoverError("it tells of no crash")
    return Signals(number) if number else None, seconds + nanoseconds / 1e9, content


def _handover_of(content: Mapping[str, Any]) -> Handover:
    """Return what is in the JSON, if the types are right."""
    return Handover(
        name=_typed(content["name"], str),
        socket=_typed(content["socket"], str),
        listener=_typed(content["listener"], int),
        pid_file=_typed(content["pid_file"], str, None.__class__),
        pid_descriptor=_typed(content["pid_descriptor"], int, None.__class__),
        kept={what: _typed(number, int) for what, number in content["kept"].items()},
        first_start=float(content["first_start"]),
        restarts=_typed(content["restarts"], int),
        crash_times=tuple(float(at) for at in content["crash_times"]),
        crash_score=float(content["crash_score"]),
        daemon=_typed(content["daemon"], bool),
        # What a release before this one has left does not have these.
        untouched=frozenset(_typed(number, int) for number in content.get("untouched", [])),
        carried=tuple(_typed(number, int) for number in content.get("carried", [])),
        reload=None if (told := content.get("reload")) is None else _part(Reload, told),
        reloads=_part(Reloads, content.get("reloads", {})),
        last=_part(Restart, content.get("last", {})),
        down_since=_typed(content.get("down_since"), float, int, None.__class__),
        supervised=_typed(content.get("supervised"), dict, None.__class__),
    )


Part = TypeVar("Part", Reload, Reloads, Restart)


def _part(kind: type[Part], content: Mapping[str, Any]) -> Part:
    """Return what of a part of the JSON this release knows."""
    numbers = (int, float)
    values = {
        one.name: _typed(content[one.name], *(numbers if one.type is float else (one.type,)))
        for one in fields(kind)
        if one.name in content
    }
    return kind(**values)


def _typed(value: Any, *types: type) -> Any:  # noqa: ANN401 - JSON's values
    if not isinstance(value, types):
        raise TypeError(value)
    return value


def _identity(descriptor: int) -> tuple[int, int]:
    """Return what makes an open file itself: its device and inode."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _lost(handover: Handover) -> str:
    """Return how the line begins that says why the server can't go on."""
    return f"can't go on after the {'crash' if handover.reload is None else 'reload'}"


def _check(descriptor: int, identity: object, what: str, handover: Handover) -> None:
    try:
        same = _identity(descriptor) == identity
    except OSError:
        same = False
    if not same:
        raise StartError(
            f"{_lost(handover)}: {what}, descriptor {descriptor}, is not open any more; "
            "does the server close descriptors that are not its own?"
        )


def _listens(descriptor: int) -> bool:
    """Tell whether it is what clients wait at: a listening UNIX-domain stream socket."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            return (
                found.family == socket.AF_UNIX
                and found.type == socket.SOCK_STREAM
                and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            )
    except OSError:
        return False


def read_traceback(descriptor: int) -> str:
    """Return the text that faulthandler has left in a file, as printable lines."""
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, SIZE_MAX, max(0, size - SIZE_MAX))
    text = data.decode("ascii", "backslashreplace")
    # A child that the server's code has forked in C may have crashed before, into the same file.
    _, begin, last = text.rpartition("Fatal Python error:")
    # A thread's number is an address, which is nobody's business who reads the log.
    last = THREAD_NUMBER.sub(r"\1", last)
    lines = (begin + last).strip("\n").split("\n")
    return shortened("\n".join(map(_printable, lines)))


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)


def shortened(traceback: str, limit: int = TRACEBACK_MAX) -> str:
    """Cut a traceback of many threads, but not out of the thread that crashed.

    faulthandler writes them in no particular order and marks that one as the "Current thread".
    """
    if len(traceback) <= limit:
        return traceback
    head, mark, rest = traceback.partition("Current thread")
    first_line = head.partition("\n")[0]
    kept = f"{first_line}\n[...]\n{mark}{rest}" if mark else traceback
    return kept[:limit].rpartition("\n")[0] + "\n[...]"
