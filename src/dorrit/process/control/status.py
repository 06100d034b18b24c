"""What a server says about itself, and how it is written: one line of JSON."""

import json
from typing import Any, Final, NamedTuple, Self

from dorrit.process.exec.handover import CRASH, Reloads, Restart

ANSWER_MAX: Final = 2048
"""Bytes of an answer: any socket takes as many at once, and the longest names and paths fit."""

TEXT_MAX: Final = 255
"""Characters of a text in an answer."""

ELLIPSIS: Final = "..."

CUT: Final = "see the log"
"""Stands for a text that is too long."""

MAX_PID: Final = 2**31 - 1
MAX_COUNT: Final = 2**53
"""The largest whole number that everybody who reads JSON agrees on."""

MAX_TIME: Final = 10**11
"""Seconds since the epoch; a date with a year of four digits."""

MAY_BE_EMPTY: Final = ("reload_state", "reload_reason", "last_restart")
"""The fields that are texts and may be empty."""

NUMBERS: Final[dict[str, tuple[tuple[type, ...], int, int]]] = {
    "pid": ((int,), 1, MAX_PID),
    "started": ((int, float), 0, MAX_TIME),
    "connections": ((int,), 0, MAX_COUNT),
    "restarts": ((int,), 0, MAX_COUNT),
    "reload_attempts": ((int,), 0, MAX_COUNT),
    "reloads": ((int,), 0, MAX_COUNT),
    "carried": ((int,), 0, MAX_COUNT),
    "carried_in": ((int, float), 0, MAX_TIME),
    "lost": ((int,), 0, MAX_COUNT),
    "unrecorded": ((int,), 0, MAX_COUNT),
}
"""The fields of an answer that are numbers: what they may be, least and greatest."""


class Status(NamedTuple):
    """What a server says about itself.

    Attributes:
        name: Its name (R13).
        pid: Its process.
        user: The name, or the number, of its user.
        group: The name, or the number, of its group.
        socket: Path of its listening socket.
        started: When it was started, in seconds since the epoch; restarts do not change that.
        connections: How many it has now.
        restarts: How often it has been restarted in place after a crash (R28).
        version: Of dorrit.
        reload_attempts: How often somebody wanted it to be reloaded; None: it can't be, since it is
            of a release that does not know how.
        reload_state: What has come of the last attempt: "checking", "refused", "starting",
            "failed", "done"; "" if there was none.
        reload_reason: Why the last attempt was refused or has failed, one line, or "".
        reloads: How often it has been reloaded.
        last_restart: What the last restart in place was: "crash" or "reload"; "" if there was none.
        carried: How many connections that one has carried.
        carried_in: Seconds that this took, from the crash or the decision on.
        lost: How many connections it could not carry.
        unrecorded: How many of its connections are not written down now: a crash would end them.
    """

    name: str
    pid: int
    user: str
    group: str
    socket: str
    started: float
    connections: int
    restarts: int
    version: str
    reload_attempts: int | None = None
    reload_state: str = ""
    reload_reason: str = ""
    reloads: int = 0
    last_restart: str = ""
    carried: int = 0
    carried_in: float = 0.0
    lost: int = 0
    unrecorded: int = 0

    def with_restarts(self, reloads: Reloads, last: Restart) -> Self:
        """Return it with what is known of reloads and of the last restart."""
        return self._replace(
            reload_attempts=reloads.attempts,
            reload_state=reloads.state,
            reload_reason=reloads.reason,
            reloads=reloads.count,
            last_restart=last.kind,
            carried=last.carried,
            carried_in=last.seconds,
            lost=last.lost,
        )


def shortened(text: str) -> str:
    """Return a text that may be in a status: printable, in one line, of at most `TEXT_MAX`."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= TEXT_MAX else f"{line[: TEXT_MAX - len(ELLIPSIS)]}{ELLIPSIS}"


def with_connections(carried: int, seconds: float, lost: int = 0) -> str:
    """Return in words what a restart in place has done to the connections.

    Args:
        carried: How many go on.
        seconds: How long it took.
        lost: How many could not be carried.
    """
    connections = "1 connection" if carried == 1 else f"{carried} connections"
    cost = f"; {lost} {'was' if lost == 1 else 'were'} lost" if lost else ""
    return f"with {connections} in {seconds:.2f} seconds{cost}"


def restarted(kind: str, carried: int, seconds: float, lost: int) -> str:
    """Return in words what the last restart in place was, and what it has done; see `Status`."""
    why = "after a crash" if kind == CRASH else f"by a {kind}"
    return f"{why}, {with_connections(carried, seconds, lost)}"


def encoded(status: Status) -> bytes:
    """Return the line, with its end.

    Raises:
        ValueError: It has more than `ANSWER_MAX` bytes.
    """
    data = _line(status)
    if len(data) > ANSWER_MAX:
        # The one text that somebody else has written; what it says at length is in the log.
        data = _line(status._replace(reload_reason=CUT))
    if len(data) > ANSWER_MAX:
        raise ValueError(f"the status has {len(data)} bytes, more than {ANSWER_MAX}")
    return data


def _line(status: Status) -> bytes:
    # ASCII, with all that a terminal would act on escaped.
    return json.dumps(status._asdict(), separators=(",", ":")).encode("ascii") + b"\n"


def decoded(data: bytes) -> Status:
    """Return the status that a line holds. It is believed in nothing that can't be so.

    Args:
        data: What has come, from whomever.

    Raises:
        ValueError: It is none.
    """
    if len(data) > ANSWER_MAX:
        raise ValueError(f"it has more than {ANSWER_MAX} bytes")
    if not data.endswith(b"\n"):
        raise ValueError("it is empty" if not data else "its end is missing")
    try:
        values = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - it is a value from outside
    # What it does not know, a newer server has added; what is missing, an older one did not have.
    known = {
        name: _checked(name, values.get(name))
        for name in Status._fields
        if name not in Status._field_defaults or values.get(name) is not None
    }
    return Status(**known)


def _checked(name: str, value: object) -> Any:  # noqa: ANN401 - whatever the field's type is
    """Return the value of a field if it can be right."""
    if name in NUMBERS:
        types, least, greatest = NUMBERS[name]
        # For isinstance alone a bool is a number, too. NaN is in no range.
        if isinstance(value, int | float) and type(value) in types:
            number: float = value
            if least <= number <= greatest:
                return value
    elif (
        isinstance(value, str)
        and (value or name in MAY_BE_EMPTY)
        and len(value) <= TEXT_MAX
        and value.isprintable()
    ):
        if name == "name" and "/" in value:
            raise ValueError("the name has a slash in it")
        if name == "socket" and not value.startswith("/"):
            raise ValueError("the path of the socket is not absolute")
        return value
    raise ValueError(f"{name} is missing or wrong")
