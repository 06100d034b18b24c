"""Every option once: name, type, range, default and help.

The command line, the checks and the documentation are made from this one table.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from dorrit.errors import StartError

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Setting:
    """One option.

    Attributes:
        name: Its name in `Settings`; on the command line, with hyphens.
        flag: Its short form on the command line, or None.
        metavar: What the help calls its value; None for a switch, which takes none.
        default: Its value when it is not given.
        read: Makes the value of the text on the command line; raises ValueError with the reason.
        help: One sentence.
    """

    name: str
    flag: str | None
    metavar: str | None
    default: Any
    read: Callable[[str], Any]
    help: str


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        # int() takes "1_000", " 7" and "٣" as well, which nobody means to write here.
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is no whole number from {minimum} to {maximum}")
        digits = text.lstrip("0") or "0"  # int() refuses some thousand of them
        if len(digits) > len(str(maximum)) or not minimum <= int(digits) <= maximum:
            raise ValueError(f"{text} is out of range: it must be {minimum} to {maximum}")
        return int(digits)

    return read


def absolute_path(text: str) -> str:
    """Read the path of a file that may not exist yet."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not absolute: it must begin with /")
    return file_name(text)


def file_name(text: str) -> str:
    """Read the name of a file."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} can't be a file's name: it is empty or has a NUL character")
    return text


def user_name(text: str) -> str:
    """Read the name or the number of a user or a group."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} can't be a name: it is empty or has a NUL character")
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


SETTINGS: Final = (
    Setting(
        "buffer_size", "-b", "N", 65540, whole_number(10, 65540),
        "bytes of a connection's buffer, 10 to 65540; messages of clients may have up to N - 5 "
        "bytes, larger outgoing ones are sent in fragments of that size",
    ),
    Setting(
        "listen", "-l", "PATH", None, absolute_path,
        "absolute path of the socket to listen on (default: /var/run/NAME.socket, where NAME is "
        "what the server calls itself, or dorrit)",
    ),
    Setting(
        "max_connections", "-m", "N", 16384, whole_number(1, 10_000_000),
        "simultaneous connections, 1 to 10000000; one more is answered 503",
    ),
    Setting(
        "user", "-u", "USER", None, user_name,
        "run as this user, a name or a number (default: nobody if started as root, else the "
        "current one)",
    ),
    Setting(
        "group", "-g", "GROUP", None, user_name,
        "run with this group, a name or a number (default: nobody if started as root, else the "
        "current one)",
    ),
    Setting(
        "foreground", "-x", None, default=False, read=bool,
        help="stay in the foreground: no daemon, no pid file, errors on stderr",
    ),
    Setting(
        "no_restart", None, None, default=False, read=bool,
        help="let a crash end the server; otherwise it is restarted in the same process",
    ),
    Setting(
        "config_file", "-f", "FILE", None, file_name,
        "for the server's own use: the name is in dorrit.ws_config_file when ws_init_func runs",
    ),
    Setting(
        "log_level", None, "LEVEL", "info", one_of(*LOG_LEVELS),
        f"what to log: {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}, each with those after it",
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


class CommandLine(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and takes no option by a part of its name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        """Take the settings of `argparse.ArgumentParser`."""
        # "--max" would become ambiguous, and fail, with the next option that begins so.
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise a StartError; argparse would print the usage as well, which buries the reason."""
        raise StartError(f"{message}; see {self.prog} --help", status=2)


def add_arguments(parser: argparse.ArgumentParser, leave_out: Iterable[str] = ()) -> None:
    """Add the options to a parser, all but those whose names are in `leave_out`."""
    for setting in SETTINGS:
        if setting.name in leave_out:
            continue
        flags = [setting.flag] if setting.flag else []
        flags.append("--" + setting.name.replace("_", "-"))
        if setting.metavar is None:
            parser.add_argument(*flags, dest=setting.name, action="store_true", help=setting.help)
            continue
        default = "" if setting.default is None else f" (default: {setting.default})"
        parser.add_argument(
            *flags,
            dest=setting.name,
            metavar=setting.metavar,
            type=_argument_type(setting),
            default=setting.default,
            help=setting.help + default,
        )


def _argument_type(setting: Setting) -> Callable[[str], Any]:
    def convert(text: str) -> Any:  # noqa: ANN401 - whatever the setting's type is
        try:
            return setting.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings among parsed arguments; those that were left out have their defaults."""
    values = vars(arguments)
    return Settings(
        **{setting.name: values[setting.name] for setting in SETTINGS if setting.name in values}
    )
