"""Every setting once: name, type, range, default and help.

The command line, the checks of what is given in code and the documentation are made from this one
table. What the command line says goes before what the code says, and that before the table.
"""

import argparse
import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, NoReturn, TypedDict

from dorrit.errors import StartError
from dorrit.protocol.origin import read_origin
from dorrit.setting_readers import (
    NO_TCP,
    absolute_path,
    file_name,
    one_of,
    one_of_in_any_case,
    seconds,
    text_of,
    url_path,
    user_name,
    whole_number,
    zero_or,
)

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

LOG_FORMATS: Final = ("text", "json")

ADDRESS_HEADERS: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
"""The header fields in which web servers pass on a client's address."""

EVENT_LOOPS: Final = ("auto", "asyncio", "uvloop")

TAKEOVERS: Final = ("none", "server", "client", "both")
"""Which side may use what it has compressed before (RFC 7692 section 7.1.1)."""

SLOW_CLIENTS: Final = ("refuse", "close")
"""What may happen to a message for a client whose queue is full."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its name in `Settings`; on the command line, with hyphens.
        flag: Its short form on the command line, or None.
        metavar: What the help calls its value; None for a switch, which takes none.
        default: Its value when it is not given.
        accepts: The type of the value that code may give, besides None where that is the default;
            of each of them, if it is repeatable.
        read: Makes the value of the text on the command line; raises ValueError with the reason.
        help: One sentence.
        unset: What having no value means, for the help.
        opposite: The option that turns a switch off, or None.
        repeatable: It may be given more than once. Its value is a tuple. What stands on the command
            line replaces what the code gave, it is not added to it.
    """

    name: str
    flag: str | None
    metavar: str | None
    default: Any
    accepts: type | UnionType
    read: Callable[[str], Any]
    help: str
    unset: str = ""
    opposite: str | None = None
    repeatable: bool = False

    @property
    def option(self) -> str:
        """Its long form on the command line."""
        return "--" + self.name.replace("_", "-")


SETTINGS: Final = (
    Setting(
        "buffer_size", "-b", "N", 65540, int, whole_number(10, 65540),
        "bytes of a connection's buffer, 10 to 65540; without --rfc a client's message may have "
        "up to N - 5 bytes; larger outgoing ones are sent in fragments of that size",
    ),
    Setting(
        "listen", "-l", "PATH", None, str | os.PathLike, absolute_path,
        "absolute path of the socket to listen on",
        unset="/var/run/NAME.socket, where NAME is what the server calls itself, or dorrit",
    ),
    Setting(
        "max_connections", "-m", "N", 16384, int, whole_number(1, 10_000_000),
        "simultaneous connections, 1 to 10000000; one more is answered 503",
    ),
    Setting(
        "user", "-u", "USER", None, str | int, user_name,
        "run as this user, a name or a number",
        unset="nobody if started as root, else the current one",
    ),
    Setting(
        "group", "-g", "GROUP", None, str | int, user_name,
        "run with this group, a name or a number",
        unset="nobody if started as root, else the current one",
    ),
    Setting(
        "foreground", "-x", None, default=False, accepts=bool, read=bool,
        help="stay in the foreground: no daemon, no pid file, errors on stderr",
        opposite="--no-foreground",
    ),
    Setting(
        "no_restart", None, None, default=False, accepts=bool, read=bool,
        help="let a crash end the server; otherwise it is restarted in the same process",
        opposite="--restart",
    ),
    Setting(
        "config_file", "-f", "FILE", None, str | os.PathLike, file_name,
        "for the server's own use: the name is in dorrit.ws_config_file",
    ),
    Setting(
        "log_level", None, "LEVEL", "info", str, one_of(*LOG_LEVELS),
        f"what to log: {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}, each with those after it",
    ),
    Setting(
        "log", None, "FILE", None, str | os.PathLike, absolute_path,
        "absolute path of the file to write the log to; it is opened anew at SIGHUP",
        unset="stderr, and syslog for a daemon",
    ),
    Setting(
        "log_format", None, "FORMAT", "text", str, one_of(*LOG_FORMATS),
        "what a record of the log looks like: text, or json, one object on each line",
    ),
    Setting(
        "access_log", None, None, default=False, accepts=bool, read=bool,
        help="log each client that is refused, and the end of each connection, with its duration",
        opposite="--no-access-log",
    ),
    Setting(
        "slow_handler", None, "SECONDS", 1.0, float | int, seconds(0.1, 3600),
        "seconds for which a handler may hold up everybody, 0.1 to 3600; then the log says where "
        "it is; 0: it never does",
    ),
    Setting(
        "origin", None, "ORIGIN", (), str, read_origin,
        "accept only clients from this origin, refuse others with 403; an exact one "
        "(https://example.org), same (that of the request's Host), none (no Origin field: not a "
        "browser), null (a page that has no origin of its own), or a pattern "
        "(https://*.example.org), in all of which the port is left out where it is the scheme's "
        "own; may be given more than once",
        unset="every origin", repeatable=True,
    ),
    Setting(
        "trust", None, "HEADER", None, str, one_of_in_any_case(*ADDRESS_HEADERS),
        f"take the client's address from this header ({', '.join(ADDRESS_HEADERS[:-1])} or "
        f"{ADDRESS_HEADERS[-1]}), which your web server must set; without it no header is trusted "
        "and the address is unknown",
    ),
    Setting(
        "allow_peer", None, "USER", (), str | int, user_name,
        "accept only connections of processes of this user, a name or a number, such as the web "
        "server's (www-data), refuse others with 403; may be given more than once",
        unset="every user who may connect to the socket", repeatable=True,
    ),
    Setting(
        "health", None, "PATH", None, str, url_path,
        "answer a plain GET of this path, such as /health, with 200, or 503 while the server "
        "stops, and without a line in the log: for the checks of a load balancer",
    ),
    Setting(
        "rfc", None, None, default=False, accepts=bool, read=bool,
        help="accept all of RFC 6455, fragments and messages of --max-message bytes; else a client "
        "that sends a fragment, or more than N - 5 bytes of the buffer, is dropped; on for a "
        "Server object",
        opposite="--no-rfc",
    ),
    Setting(
        "max_message", None, "N", 1024 * 1024, int, whole_number(1, 2**30),
        "with --rfc: bytes of the largest message that a client may send, decompressed, 1 to "
        "1073741824; one that sends more is closed with 1009",
    ),
    Setting(
        "deflate", None, None, default=False, accepts=bool, read=bool,
        help="with --rfc: compress messages for clients that can take it (permessage-deflate), and "
        "take compressed ones",
        opposite="--no-deflate",
    ),
    Setting(
        "deflate_takeover", None, "WHO", "none", str, one_of(*TAKEOVERS),
        "who may compress a message by what was in the ones before: none, server, client or both; "
        "it makes small messages smaller, and keeps up to 300 kilobytes for each connection",
    ),
    Setting(
        "deflate_window_bits", None, "N", 15, int, whole_number(9, 15),
        "size of the window of what the server compresses, 2^N bytes, 9 to 15",
    ),
    Setting(
        "deflate_from", None, "N", 128, int, whole_number(0, 2**30),
        "bytes from which on a message is worth compressing, 0 to 1073741824",
    ),
    Setting(
        "handshake_timeout", None, "SECONDS", 10.0, float | int, seconds(0.25, 3600, zero=False),
        "seconds in which a client's request must have come, 0.25 to 3600; then it is answered 408",
    ),
    Setting(
        "max_head", None, "N", 65536, int, whole_number(1024, 65536),
        "bytes of a client's request, 1024 to 65536; a larger one is answered 431",
    ),
    Setting(
        "max_handshakes", None, "N", 1024, int, whole_number(1, 10_000_000),
        "connections whose request has not come yet, 1 to 10000000; for one more, the oldest of "
        "them is answered 503",
    ),
    Setting(
        "max_per_client", None, "N", 0, int, whole_number(0, 10_000_000),
        "connections from one address, or from one /64 network of IPv6, 0 to 10000000; one more is "
        "answered 429; needs --trust; 0: no limit",
    ),
    Setting(
        "max_message_rate", None, "N", 0, int, whole_number(0, 1_000_000),
        "messages that a client may send in a second, 0 to 1000000; fragments and pings count; one "
        "that sends more is closed with 1008; 0: no limit",
    ),
    Setting(
        "close_timeout", None, "SECONDS", 10.0, float | int, seconds(0.25, 3600, zero=False),
        "seconds that a client that is closed has for its part, as long as it reads nothing, 0.25 "
        "to 3600; then it is cut off",
    ),
    Setting(
        "stop_timeout", None, "SECONDS", 10.0, float | int, seconds(0, 3600),
        "seconds that all clients have for theirs when the server stops, 0 to 3600",
    ),
    Setting(
        "max_buffered", None, "N", 256 * 2**20, int, zero_or(whole_number(16 * 2**20, 2**50)),
        "bytes of messages under way, to be sent or incomplete, for all clients together, 16777216 "
        "to 1125899906842624; beyond it the client with most of them is closed with 1013; 0: no "
        "limit",
    ),
    Setting(
        "slow_clients", None, "WHAT", "refuse", str, one_of(*SLOW_CLIENTS),
        "what happens to a message for a client whose queue is full: refuse drops this message for "
        "this client; close closes the client with 1008",
    ),
    Setting(
        "max_pending_bytes", None, "N", 0, int, whole_number(0, 2**31 - 1),
        "bytes that may wait for one client beside the limit of 200 frames, 0 to 2147483647; 0: no "
        "limit of bytes",
    ),
    Setting(
        "ping_interval", None, "SECONDS", 0.0, float | int, seconds(0.25, 86400),
        "send a ping to a client that has been silent for this long, 0.25 to 86400; 20 keeps "
        "proxies with a timeout of 60 from closing it; 0: never",
    ),
    Setting(
        "ping_timeout", None, "SECONDS", 20.0, float | int, seconds(0.25, 86400),
        "close a client that sends nothing for this long after a ping, 0.25 to 86400; 0: never",
    ),
    Setting(
        "idle_timeout", None, "SECONDS", 0.0, float | int, seconds(0.25, 86400),
        "close a client with which no message was exchanged for this long, 0.25 to 86400, pings do "
        "not count; 0: never",
    ),
    Setting(
        "max_waiting", None, "N", 16, int, whole_number(1, 10_000),
        "messages of one client that may wait while an async handler runs for it, 1 to 10000; then "
        "the server stops reading from it",
    ),
    Setting(
        "stop_grace", None, "SECONDS", 5.0, float | int, seconds(0, 3600),
        "seconds that handlers (and threads, when all else has ended) get to finish when the "
        "server stops, 0 to 3600; then async ones are cancelled, and the others left with the "
        "process",
    ),
    Setting(
        "event_loop", None, "WHICH", "auto", str, one_of(*EVENT_LOOPS),
        "what async handlers run in: auto takes uvloop where it is installed and else asyncio's "
        "own loop; asyncio and uvloop are these",
    ),
    Setting(
        "keep_requests", None, None, default=False, accepts=bool, read=bool,
        help="keep each client's request (conn.request) as long as the connection, which costs a "
        "few kilobytes each; without it the request is there in the open callback only",
        opposite="--no-keep-requests",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of one run; each is described in `SETTINGS`."""

    buffer_size: int = 65540
    listen: str | None = None
    max_connections: int = 16384
    user: str | None = None
    group: str | None = None
    foreground: bool = False
    no_restart: bool = False
    config_file: str | None = None
    log_level: str = "info"
    log: str | None = None
    log_format: str = "text"
    access_log: bool = False
    slow_handler: float = 1.0
    origin: tuple[str, ...] = ()
    trust: str | None = None
    allow_peer: tuple[str, ...] = ()
    health: str | None = None
    rfc: bool = False
    max_message: int = 1024 * 1024
    deflate: bool = False
    deflate_takeover: str = "none"
    deflate_window_bits: int = 15
    deflate_from: int = 128
    handshake_timeout: float = 10.0
    max_head: int = 65536
    max_handshakes: int = 1024
    max_per_client: int = 0
    max_message_rate: int = 0
    close_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_buffered: int = 256 * 2**20
    slow_clients: str = "refuse"
    max_pending_bytes: int = 0
    ping_interval: float = 0.0
    ping_timeout: float = 20.0
    idle_timeout: float = 0.0
    max_waiting: int = 16
    stop_grace: float = 5.0
    event_loop: str = "auto"
    keep_requests: bool = False


class ServerSettings(TypedDict, total=False):
    """What code may give; each is described in `SETTINGS`, and checked by `check`."""

    buffer_size: int
    listen: str | os.PathLike[str] | None
    max_connections: int
    user: str | int | None
    group: str | int | None
    foreground: bool
    no_restart: bool
    config_file: str | os.PathLike[str] | None
    log_level: str
    log: str | os.PathLike[str] | None
    log_format: str
    access_log: bool
    slow_handler: float
    origin: str | Sequence[str]
    trust: str | None
    allow_peer: str | int | Sequence[str | int]
    health: str | None
    rfc: bool
    max_message: int
    deflate: bool
    deflate_takeover: str
    deflate_window_bits: int
    deflate_from: int
    handshake_timeout: float
    max_head: int
    max_handshakes: int
    max_per_client: int
    max_message_rate: int
    close_timeout: float
    stop_timeout: float
    max_buffered: int
    slow_clients: str
    max_pending_bytes: int
    ping_interval: float
    ping_timeout: float
    idle_timeout: float
    max_waiting: int
    stop_grace: float
    event_loop: str
    keep_requests: bool


# Settings in code


def check(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings that code gives as the command line would give them.

    They are held to the same ranges: a path becomes its text, the number of a user its digits, what
    may be repeated a tuple.

    Args:
        settings: What `ServerSettings` lists, or a part of it.

    Raises:
        TypeError: There is no such setting, or its value has the wrong type.
        ValueError: The value is out of range.
    """
    by_name = {setting.name: setting for setting in SETTINGS}
    checked = {}
    for name, value in settings.items():
        if name.startswith("on_"):
            raise TypeError(
                f"{name} is no setting: it is a decorator (@app.{name}), or a method of a subclass"
            )
        if name not in by_name:
            similar = difflib.get_close_matches(name, by_name, n=1)
            hint = f": did you mean {similar[0]}?" if similar else ""
            raise TypeError(f"Server() has no setting {name!r}{hint}")
        checked[name] = _checked(by_name[name], value)
    return checked


def _checked(setting: Setting, value: object) -> Any:  # noqa: ANN401 - whatever the setting's type is
    if value is None and setting.default is None:
        return None
    if not setting.repeatable or _is_a(setting.accepts, value):
        one = _checked_one(setting, value)
        return (one,) if setting.repeatable else one
    # The bytes of b"www" are numbers, which might be users.
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return tuple(_checked_one(setting, one) for one in value)
    raise _wrong_type(setting, value)


def _checked_one(setting: Setting, value: object) -> Any:  # noqa: ANN401 - as above
    if not _is_a(setting.accepts, value):
        raise _wrong_type(setting, value)
    if isinstance(value, bool):
        return value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
        if not isinstance(value, str):  # a path may be bytes
            raise _wrong_type(setting, value)
    try:
        return setting.read(text_of(value))
    except ValueError as error:
        raise ValueError(f"{setting.name}: {error}") from None


def _is_a(accepts: type | UnionType, value: object) -> bool:
    # A bool is an int to Python, but nobody means a size of True.
    return isinstance(value, accepts) and (accepts is bool or not isinstance(value, bool))


def _wrong_type(setting: Setting, value: object) -> TypeError:
    accepts = setting.accepts
    types = accepts.__name__ if isinstance(accepts, type) else str(accepts).replace(" | ", " or ")
    several = f", or a sequence of {types}" if setting.repeatable else ""
    return TypeError(f"{setting.name} must be {types}{several}, not {type(value).__name__}")


# The command line


TCP_OPTIONS: Final = frozenset({"--port", "--host", "--bind", "--address", "-p"})


class CommandLine(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and takes no option by a part of its name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        """Take the settings of `argparse.ArgumentParser`."""
        # "--max" would become ambiguous, and fail, with the next option that begins so.
        super().__init__(**settings, allow_abbrev=False)

    def parse_known_args(  # type: ignore[override]  # no other kinds of namespaces
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and know all: a subcommand's parser says itself what it does not."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._advice(unknown)}")
        return parsed, unknown

    def _advice(self, unknown: Iterable[str]) -> str:
        for word in unknown:
            option = word.partition("=")[0]
            if option in TCP_OPTIONS:
                return f"; {NO_TCP}"
            close = difflib.get_close_matches(option, self._option_string_actions, n=1, cutoff=0.75)
            if option.startswith("--") and close:
                return f"; did you mean {close[0]}?"
        return ""

    def error(self, message: str) -> NoReturn:
        """Raise a StartError; argparse would print the usage as well, which buries the reason."""
        raise StartError(f"{message}; see {self.prog} --help", status=2)


class _Switch(argparse.Action):
    """An option without a value, and the one that turns it off."""

    def __init__(self, opposite: str, **settings: Any) -> None:  # noqa: ANN401 - those of Action
        super().__init__(**settings, nargs=0)
        self.opposite = opposite

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        _values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string != self.opposite)


def add_arguments(
    parser: argparse.ArgumentParser,
    leave_out: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add the options to a parser.

    A setting that is not given is no attribute of the parsed arguments, so that `given` can tell;
    the same `defaults` are to be passed to `merge`.

    Args:
        parser: What gets them.
        leave_out: The names of the settings that get no option.
        defaults: What the code gives, as `check` returns it: the help calls them the defaults.
    """
    for setting in SETTINGS:
        if setting.name in leave_out:
            continue
        flags = [setting.flag, setting.option, setting.opposite]
        default = _default(setting, (defaults or {}).get(setting.name, setting.default))
        help_text = setting.help + (f" (default: {default})" if default else "")
        kind: dict[str, Any] = {"action": _Switch, "opposite": setting.opposite}
        if setting.metavar is not None:
            action = "append" if setting.repeatable else "store"
            kind = {"action": action, "metavar": setting.metavar, "type": _argument_type(setting)}
        parser.add_argument(
            *(flag for flag in flags if flag),
            dest=setting.name,
            default=argparse.SUPPRESS,
            help=help_text.replace("%", "%%"),  # argparse fills in what follows one
            **kind,
        )


def _default(setting: Setting, value: object) -> str:
    """Return what the help says of a default; nothing of a switch that is off."""
    if value is None or value == ():
        return setting.unset
    if isinstance(value, bool):
        return setting.option if value else ""
    return ", ".join(map(text_of, value)) if isinstance(value, tuple) else text_of(value)


def _argument_type(setting: Setting) -> Callable[[str], Any]:
    def convert(text: str) -> Any:  # noqa: ANN401 - whatever the setting's type is
        try:
            return setting.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that stood on the command line, and no others."""
    values = vars(arguments)
    return {
        setting.name: tuple(values[setting.name]) if setting.repeatable else values[setting.name]
        for setting in SETTINGS
        if setting.name in values
    }


def merge(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settings:
    """Return the settings of a run: command line over code over table.

    Args:
        given: What stood on the command line, as the function `given` returns it.
        defaults: What the code gives, as `check` returns it.
    """
    return Settings(**{**defaults, **given})


def check_together(settings: Settings) -> None:
    """Look whether the settings of a run fit each other.

    Raises:
        StartError: They do not.
    """
    if settings.deflate and not settings.rfc:
        # An extension changes what frames mean, and the strict rules know no such frames.
        raise StartError("--deflate needs --rfc", status=2)
    if settings.rfc and 0 < settings.max_buffered < settings.max_message:
        raise StartError(
            "--max-buffered must not be less than --max-message: it could not be received",
            status=2,
        )
    if settings.max_per_client and settings.trust is None:
        raise StartError(
            "--max-per-client needs --trust: without it no client's address is known", status=2
        )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings of a run whose code gives none."""
    return merge(given(arguments), {})


def options_of(given: Mapping[str, Any]) -> list[str]:
    """Return the options that give these settings; `given` makes the same of them again."""
    options = []
    for setting in SETTINGS:
        if setting.name not in given:
            continue
        value = given[setting.name]
        if setting.metavar is None:
            options.append(setting.option if value else setting.opposite or "")
        else:
            values = value if setting.repeatable else (value,)
            options += [f"{setting.option}={text_of(one)}" for one in values]
    return options
