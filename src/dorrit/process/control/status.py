"""What a server says about itself, and how it is written: one line of JSON."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

ANSWER_MAX: Final = 2048
"""Bytes of an answer: any socket takes as many at once, and the longest names and paths fit."""

TEXT_MAX: Final = 255
"""Characters of a text in an answer."""

MAX_PID: Final = 2**31 - 1
MAX_COUNT: Final = 2**53
"""The largest whole number that everybody who reads JSON agrees on."""

MAX_TIME: Final = 10**11
"""Seconds since the epoch; a date with a year of four digits."""

NUMBERS: Final[dict[str, tuple[tuple[type, ...], int, int]]] = {
    "pid": ((int,), 1, MAX_PID),
    "started": ((int, float), 0, MAX_TIME),
    "connections": ((int,), 0, MAX_COUNT),
    "restarts": ((int,), 0, MAX_COUNT),
}
"""The fields of an answer that are numbers: what they may be, least and greatest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
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


def encoded(status: Status) -> bytes:
    """Return the line, with its end.

    Raises:
        ValueError: It has more than `ANSWER_MAX` bytes.
    """
    # ASCII, with all that a terminal would act on escaped.
    data = json.dumps(asdict(status), separators=(",", ":")).encode("ascii") + b"\n"
    if len(data) > ANSWER_MAX:
        raise ValueError(f"the status has {len(data)} bytes, more than {ANSWER_MAX}")
    return data


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
    # What it does not know, a newer server has added.
    known = {field.name: _checked(field.name, values.get(field.name)) for field in fields(Status)}
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
    elif isinstance(value, str) and 0 < len(value) <= TEXT_MAX and value.isprintable():
        if name == "name" and "/" in value:
            raise ValueError("the name has a slash in it")
        if name == "socket" and not value.startswith("/"):
            raise ValueError("the path of the socket is not absolute")
        return value
    raise ValueError(f"{name} is missing or wrong")
