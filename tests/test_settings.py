"""Every option's type, range and default (R30 to R32, R34, R35)."""

import argparse
import collections
import dataclasses
import enum
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from dorrit.cli import dev
from dorrit.errors import StartError
from dorrit.setting_readers import NO_TCP, text_of
from dorrit.settings import (
    SETTINGS,
    CommandLine,
    ServerSettings,
    Settings,
    add_arguments,
    check,
    given,
    merge,
    options_of,
    settings_of,
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


def arguments_of(*words: str, leave_out: tuple[str, ...] = ()) -> argparse.Namespace:
    parser = CommandLine(prog="command")
    add_arguments(parser, leave_out)
    return parser.parse_args(words)


def parse(*words: str, leave_out: tuple[str, ...] = ()) -> Settings:
    return settings_of(arguments_of(*words, leave_out=leave_out))


def help_text(defaults: Mapping[str, Any] | None = None) -> str:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, defaults=defaults)
    return " ".join(parser.format_help().split())


# One table


def test_the_defaults_are_those_of_the_table_in_both_places() -> None:
    assert parse() == Settings()
    assert dataclasses.asdict(Settings()) == {s.name: s.default for s in SETTINGS}
    assert Settings() == Settings(
        buffer_size=65540, listen=None, max_connections=16384, foreground=False,
        config_file=None, log_level="info", log=None, log_format="text", access_log=False,
        slow_handler=1.0, origin=(), trust=None, allow_peer=(), health=None,
        rfc=False, max_message=1048576, deflate=False, deflate_takeover="none",
        deflate_window_bits=15, deflate_from=128, handshake_timeout=10.0, max_head=65536,
        max_handshakes=1024, max_per_client=0, max_message_rate=0, close_timeout=10.0,
        stop_timeout=10.0, max_buffered=268435456,
        slow_clients="refuse", max_pending_bytes=0, ping_interval=0.0, ping_timeout=20.0,
        idle_timeout=0.0, max_waiting=16, stop_grace=5.0, event_loop="auto",
        keep_requests=False,
    )  # fmt: skip


def test_table_values_and_what_code_may_give_have_the_same_names_in_the_same_order() -> None:
    names = [setting.name for setting in SETTINGS]
    assert [field.name for field in dataclasses.fields(Settings)] == names
    assert list(typing.get_type_hints(ServerSettings)) == names
    assert ServerSettings.__required_keys__ == frozenset()


def members(hint: Any) -> set[Any]:
    return set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}


@pytest.mark.root
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_table_values_and_what_code_may_give_have_the_same_types(setting: Any) -> None:
    accepted = members(setting.accepts)
    if accepted == {float, int}:
        accepted = {float}  # which admits an int, to a type checker
    value = typing.get_type_hints(Settings)[setting.name]
    in_code = {
        str: str | os.PathLike[str] if os.PathLike in accepted else str,
        int: int, float: float, bool: bool,
    }  # fmt: skip
    expected: set[Any] = set().union(*(members(in_code[one]) for one in accepted - {os.PathLike}))
    if setting.repeatable:
        assert value == tuple[str, ...]
        assert setting.default == ()
        expected |= {Sequence[str | int] if int in accepted else Sequence[str]}
    elif setting.default is None:
        assert value == str | None
        expected |= {types.NoneType}
    else:
        assert type(setting.default) is value
        assert expected == {value}
    assert members(typing.get_type_hints(ServerSettings)[setting.name]) == expected
    assert (setting.metavar is None) == (setting.accepts is bool) == bool(setting.opposite)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_default_is_a_value_that_code_may_give(setting: Any) -> None:
    assert check({setting.name: setting.default}) == {setting.name: setting.default}
    if setting.metavar is not None and setting.default not in (None, ()):
        assert setting.read(text_of(setting.default)) == setting.default


# The command line


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-b", "10"], "buffer_size", 10),
        (["-b65540"], "buffer_size", 65540),
        (["--buffer-size=0000000000000000000000100"], "buffer_size", 100),
        (["-l", "/tmp/a b"], "listen", "/tmp/a b"),
        (["--listen", "/x"], "listen", "/x"),
        (["-m", "1"], "max_connections", 1),
        (["--max-connections", "10000000"], "max_connections", 10_000_000),
        (["-x"], "foreground", True),
        (["--foreground"], "foreground", True),
        (["-f", "server.conf"], "config_file", "server.conf"),
        (["--config-file", "/etc/x"], "config_file", "/etc/x"),
        (["--log-level", "debug"], "log_level", "debug"),
        (["--log", "/var/log/chat.log"], "log", "/var/log/chat.log"),
        (["--log-format", "json"], "log_format", "json"),
        (["--access-log"], "access_log", True),
        (["--slow-handler", "0.5"], "slow_handler", 0.5),
        (["--no-restart"], "no_restart", True),
        (["-u", "www"], "user", "www"),
        (["-g", "33"], "group", "33"),
        (["--origin", "https://example.org"], "origin", ("https://example.org",)),
        (["--origin", "same", "-x", "--no-foreground", "--origin", "none"], "origin",
         ("same", "none")),
        (["--origin", "https://*.example.org"], "origin", ("https://*.example.org",)),
        (["--trust", "X-Forwarded-For"], "trust", "X-Forwarded-For"),
        (["--trust", "x-FORWARDED-for"], "trust", "X-Forwarded-For"),
        (["--trust", "forwarded"], "trust", "Forwarded"),
        (["--trust", "X-REAL-IP"], "trust", "X-Real-IP"),
        (["--allow-peer", "www-data"], "allow_peer", ("www-data",)),
        (["--health", "/health"], "health", "/health"),
        (["--allow-peer", "www-data", "--allow-peer=33"], "allow_peer", ("www-data", "33")),
        (["--slow-clients", "close"], "slow_clients", "close"),
        (["--max-pending-bytes", "2147483647"], "max_pending_bytes", 2147483647),
        (["--max-pending-bytes", "00"], "max_pending_bytes", 0),
        (["--ping-interval", "20"], "ping_interval", 20.0),
        (["--ping-interval", "0.25"], "ping_interval", 0.25),
        (["--ping-interval", "86400.0"], "ping_interval", 86400.0),
        (["--ping-timeout", "0"], "ping_timeout", 0.0),
        (["--ping-timeout", "0.0"], "ping_timeout", 0.0),
        (["--ping-timeout", "7."], "ping_timeout", 7.0),
        (["--idle-timeout", ".5"], "idle_timeout", 0.5),
        (["--idle-timeout", "0" * 5000 + "3"], "idle_timeout", 3.0),
        (["--max-waiting", "1"], "max_waiting", 1),
        (["--max-waiting", "10000"], "max_waiting", 10_000),
        (["--stop-grace", "0"], "stop_grace", 0.0),
        (["--stop-grace", "0.001"], "stop_grace", 0.001),
        (["--stop-grace", "3600"], "stop_grace", 3600.0),
        (["--event-loop", "uvloop"], "event_loop", "uvloop"),
        (["--keep-requests"], "keep_requests", True),
    ],
)  # fmt: skip
def test_each_option_sets_what_it_is_called(words: list[str], name: str, value: Any) -> None:
    parsed = parse(*words)
    assert parsed == dataclasses.replace(Settings(), **{name: value})
    assert type(getattr(parsed, name)) is type(value)  # 20 == 20.0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-b", "9"], "argument -b/--buffer-size: 9 is out of range: it must be 10 to 65540"),
        (["-b", "65541"], "65541 is out of range: it must be 10 to 65540"),
        (["-b", "9" * 5000], "is out of range: it must be 10 to 65540"),
        (["-b", "abc"], "'abc' is no whole number from 10 to 65540"),
        (["-b", "1e3"], "'1e3' is no whole number"),
        (["-b", "1_000"], "'1_000' is no whole number"),
        (["-b", " 99"], "' 99' is no whole number"),
        (["-b", "٩٩"], "'٩٩' is no whole number"),
        (["-b", "99\n"], r"'99\n' is no whole number"),
        (["-b", ""], "'' is no whole number"),
        (["-m", "0"], "argument -m/--max-connections: 0 is out of range: it must be 1 to 10000000"),
        (["-m", "-1"], "'-1' is no whole number from 1 to 10000000"),
        (["-m", "10000001"], "10000001 is out of range"),
        (["-l", "relative.socket"], "'relative.socket' is not absolute: it must begin with /"),
        (["-l", ""], "'' is not absolute"),
        (["-f", ""], "'' can't be a file's name"),
        (["--log-level", "loud"], "'loud' is none of debug, info, warning, error, critical"),
        (["--log", "chat.log"], "'chat.log' is not absolute: it must begin with /"),
        (["--log-format", "xml"], "'xml' is none of text, json"),
        (["-u", ""], "'' can't be a name"),
        (["--trust", "X-Client"],
         "argument --trust: 'X-Client' is none of X-Forwarded-For, Forwarded, X-Real-IP"),
        (["--trust", ""], "'' is none of X-Forwarded-For"),
        (["--trust", "X-Real-\u0130P"], "P' is none of"),  # it is lower case with two letters
        (["--trust", "Forwarded\r\nX: y"], r"'Forwarded\r\nX: y' is none of"),
        (["--allow-peer", ""], "argument --allow-peer: '' can't be a name"),
        (["--slow-clients", "drop"], "argument --slow-clients: 'drop' is none of refuse, close"),
        (["--slow-clients", "Close"], "'Close' is none of refuse, close"),
        (["--max-pending-bytes", "2147483648"],
         "2147483648 is out of range: it must be 0 to 2147483647"),
        (["--max-pending-bytes", "1.5"], "'1.5' is no whole number from 0 to 2147483647"),
        (["--max-waiting", "0"], "0 is out of range: it must be 1 to 10000"),
        (["--max-waiting", "10001"], "10001 is out of range"),
        (["--ping-interval", "0.2"],
         "argument --ping-interval: 0.2 is out of range: it must be 0.25 to 86400, or 0"),
        (["--ping-interval", "86400.5"], "86400.5 is out of range: it must be 0.25 to 86400, or 0"),
        (["--ping-timeout", "0.01"], "0.01 is out of range: it must be 0.25 to 86400, or 0"),
        (["--idle-timeout", "86401"], "86401 is out of range: it must be 0.25 to 86400, or 0"),
        (["--stop-grace", "3600.001"], "3600.001 is out of range: it must be 0 to 3600;"),
        (["--stop-grace", "9" * 5000], "is out of range: it must be 0 to 3600;"),
        (["--event-loop", "trio"], "'trio' is none of auto, asyncio, uvloop"),
        (["--foreground=no"], "ignored explicit argument 'no'"),
        (["--no-no-restart"], "unrecognized arguments: --no-no-restart"),
        (["-b"], "argument -b/--buffer-size: expected one argument"),
        (["--buffer", "100"], "unrecognized arguments: --buffer 100"),
        (["-q"], "unrecognized arguments: -q"),
        (["surplus"], "unrecognized arguments: surplus"),
        (["--port=80"], f"unrecognized arguments: --port=80; {NO_TCP}"),
        (["--health", "health"],
         "argument --health: 'health' is no path of a URL: it must begin with /"),
        (["--health", ""], "'' is no path of a URL: it must begin with /"),
        (["--health", "/h?a"], "'/h?a' is no path of a URL: it must have no query"),
        (["--health", "/h#a"], "'/h#a' is no path of a URL: it must have no query"),
        (["--health", "/h a"], "'/h a' is no path of a URL: what is not visible ASCII"),
        (["--health", "/h\u00e9"], "is no path of a URL: what is not visible ASCII"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_and_is_a_usage_error(
    words: list[str], reason: str
) -> None:
    with pytest.raises(StartError) as raised:
        parse(*words)
    message = str(raised.value)
    assert reason in message
    assert message.endswith("; see command --help")
    assert "\n" not in message
    assert raised.value.status == 2


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "1.2.3", "-1", "+1", " 1", "1 ", "1\n", "1e3", "1E3", "1_0", "1,5", "0x10",
        "nan", "inf", "Infinity", "\u0663", "1\u0663", "\uff11", "1s", "1\0", "1/2",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ping_interval", "ping_timeout", "idle_timeout", "stop_grace"])
def test_seconds_are_digits_with_at_most_one_dot(name: str, text: str) -> None:
    with pytest.raises(
        ValueError, match=r" is no number of seconds, such as 20 or 0\.5$"
    ) as raised:
        BY_NAME[name].read(text)
    assert str(raised.value).startswith(repr(text))


@pytest.mark.parametrize(
    "text",
    ["", "example.org", "https://", "https://example.org/path", "https://a b", "https://a\r\nX: y"],
)
def test_what_is_no_origin_is_an_error_of_one_line(text: str) -> None:
    with pytest.raises(StartError, match=r"^argument --origin: ") as raised:
        parse("--origin", text)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"^origin: "):
        check({"origin": ["same", text]})


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--no-foreground"], {"foreground": False}),
        (["-x", "--no-foreground"], {"foreground": False}),
        (["--no-foreground", "-x"], {"foreground": True}),
        (["-xm", "7"], {"foreground": True, "max_connections": 7}),
        (["--restart"], {"no_restart": False}),
        (["--no-restart", "--restart"], {"no_restart": False}),
        (["--restart", "--no-restart"], {"no_restart": True}),
        (["--keep-requests", "--no-keep-requests"], {"keep_requests": False}),
        (["--no-keep-requests"], {"keep_requests": False}),
    ],
)
def test_each_switch_has_an_opposite_and_the_last_of_them_counts(
    words: list[str], values: dict[str, Any]
) -> None:
    assert given(arguments_of(*words)) == values


@pytest.mark.parametrize("name", ["listen", "config_file", "user", "group", "allow_peer"])
def test_a_name_with_a_nul_character_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        BY_NAME[name].read("/tmp/a\0b")


def test_what_is_left_out_has_its_default_and_is_no_option() -> None:
    assert parse(leave_out=("listen", "foreground")) == Settings()
    with pytest.raises(StartError, match="unrecognized arguments: -x"):
        parse("-x", leave_out=("listen", "foreground"))


def test_the_help_of_each_option_says_its_default_and_its_range() -> None:
    text = help_text()
    for phrase in (
        "-b N, --buffer-size N", "10 to 65540", "(default: 65540)",
        "-l PATH, --listen PATH", "(default: /var/run/NAME.socket, where NAME is what the",
        "-m N, --max-connections N", "1 to 10000000", "(default: 16384)",
        "a name or a number (default: nobody if started as root, else the current one)",
        "-x, --foreground, --no-foreground",
        "--no-restart, --restart",
        "-f FILE, --config-file FILE",
        "--log-level LEVEL", "debug, info, warning, error or critical", "(default: info)",
        "--log FILE", "(default: stderr, and syslog for a daemon)", "--log-format FORMAT",
        "--access-log, --no-access-log",
        "--slow-handler SECONDS", "0: it never does (default: 1)",
        "--origin ORIGIN", "refuse others with 403", "(default: every origin)",
        "--trust HEADER", "without it no header is trusted and the address is unknown --allow-peer",
        "--allow-peer USER", "(default: every user who may connect to the socket)",
        "--slow-clients WHAT", "closes the client with 1008 (default: refuse)",
        "--max-pending-bytes N", "0 to 2147483647; 0: no limit of bytes (default: 0)",
        "--ping-interval SECONDS", "0.25 to 86400; 20 keeps", "0: never (default: 0)",
        "--ping-timeout SECONDS", "0: never (default: 20)",
        "--idle-timeout SECONDS", "pings do not count",
        "--max-waiting N", "1 to 10000;", "(default: 16)",
        "--stop-grace SECONDS", "others left with the process (default: 5)",
        "--event-loop WHICH", "(default: auto)",
        "--keep-requests, --no-keep-requests", "in the open callback only",
    ):  # fmt: skip
        assert phrase in text
    assert text.endswith("in the open callback only")  # a switch that is off says no default


def test_the_help_says_what_the_code_gives_as_the_default() -> None:
    text = help_text(
        check(
            {
                "buffer_size": 100, "listen": Path("/tmp/100%s %(prog)s"), "user": 33,
                "foreground": True, "keep_requests": False, "origin": ["same", "none"],
                "allow_peer": "www", "ping_interval": 0.5, "stop_grace": 0.00001, "trust": None,
            }
        )
    )  # fmt: skip
    for phrase in (
        "of that size (default: 100) -l",
        "to listen on (default: /tmp/100%s %(prog)s) -m",
        "run as this user, a name or a number (default: 33) -g",
        "errors on stderr (default: --foreground) --no-restart",
        "(default: same, none) --trust",
        "(default: www) --health",
        "0: never (default: 0.5) --ping-timeout",
        "with the process (default: 0.00001) --event-loop",
        "0: never (default: 20) --idle-timeout",  # of the table
    ):
        assert phrase in text
    assert text.endswith("in the open callback only")


# In code


class Size(enum.IntEnum):
    LARGE = 99


@pytest.mark.parametrize(
    ("in_code", "value"),
    [
        ({"buffer_size": 10}, 10),
        ({"listen": "/a"}, "/a"),
        ({"listen": Path("/a")}, "/a"),
        ({"listen": PurePosixPath("/a b")}, "/a b"),
        ({"listen": None}, None),
        ({"config_file": Path("a")}, "a"),
        ({"user": "www"}, "www"),
        ({"user": 33}, "33"),
        ({"group": 0}, "0"),
        ({"user": None}, None),
        ({"foreground": True}, True),
        ({"no_restart": False}, False),
        ({"log_level": "debug"}, "debug"),
        ({"log": Path("/var/log/chat.log")}, "/var/log/chat.log"),
        ({"origin": "same"}, ("same",)),
        ({"origin": []}, ()),
        ({"origin": ["same", "https://example.org"]}, ("same", "https://example.org")),
        ({"origin": collections.deque(["same"])}, ("same",)),
        ({"trust": "x-real-ip"}, "X-Real-IP"),
        ({"allow_peer": "www"}, ("www",)),
        ({"allow_peer": 33}, ("33",)),
        ({"allow_peer": ("www", 33)}, ("www", "33")),
        ({"slow_clients": "close"}, "close"),
        ({"ping_interval": 20}, 20.0),
        ({"ping_interval": 0.25}, 0.25),
        ({"ping_interval": 0}, 0.0),
        ({"ping_timeout": 86400}, 86400.0),
        ({"stop_grace": 0.1 + 0.2}, 0.1 + 0.2),
        ({"stop_grace": 1e-300}, 1e-300),
        ({"stop_grace": 1.2345678901234567e-5}, 1.2345678901234567e-5),
        ({"max_waiting": 10_000}, 10_000),
        ({"max_waiting": Size.LARGE}, 99),
        ({"keep_requests": True}, True),
    ],
)
def test_what_code_gives_becomes_what_the_command_line_would_give(
    in_code: dict[str, Any], value: Any
) -> None:
    (checked,) = check(in_code).values()
    assert checked == value
    assert type(checked) is type(value)
    assert check(check(in_code)) == check(in_code)


def test_only_what_code_gives_is_returned() -> None:
    assert check({}) == {}
    assert check({"user": 1, "origin": "same"}) == {"user": "1", "origin": ("same",)}


@pytest.mark.parametrize(
    ("in_code", "reason"),
    [
        ({"buffersize": 7}, "Server() has no setting 'buffersize': did you mean buffer_size?"),
        ({"origins": "same"}, "Server() has no setting 'origins': did you mean origin?"),
        (
            {"on_x": 7},
            "on_x is no setting: it is a decorator (@app.on_x), or a method of a subclass",
        ),
        ({"quux": 7}, "Server() has no setting 'quux'"),
        ({"buffer_size": "100"}, "buffer_size must be int, not str"),
        ({"buffer_size": True}, "buffer_size must be int, not bool"),
        ({"buffer_size": 100.0}, "buffer_size must be int, not float"),
        ({"buffer_size": None}, "buffer_size must be int, not NoneType"),
        ({"max_waiting": False}, "max_waiting must be int, not bool"),
        ({"foreground": 1}, "foreground must be bool, not int"),
        ({"foreground": None}, "foreground must be bool, not NoneType"),
        ({"keep_requests": "yes"}, "keep_requests must be bool, not str"),
        ({"listen": b"/a"}, "listen must be str or os.PathLike, not bytes"),
        ({"listen": 3}, "listen must be str or os.PathLike, not int"),
        ({"user": 1.0}, "user must be str or int, not float"),
        ({"user": True}, "user must be str or int, not bool"),
        ({"ping_interval": "20"}, "ping_interval must be float or int, not str"),
        ({"ping_interval": True}, "ping_interval must be float or int, not bool"),
        ({"ping_interval": None}, "ping_interval must be float or int, not NoneType"),
        ({"log_level": 10}, "log_level must be str, not int"),
        ({"trust": ["Forwarded"]}, "trust must be str, not list"),
        ({"origin": None}, "origin must be str, or a sequence of str, not NoneType"),
        ({"origin": 7}, "origin must be str, or a sequence of str, not int"),
        ({"origin": ["same", None]}, "origin must be str, or a sequence of str, not NoneType"),
        ({"origin": {"same"}}, "origin must be str, or a sequence of str, not set"),
        ({"origin": b"same"}, "origin must be str, or a sequence of str, not bytes"),
        ({"allow_peer": [["www"]]},
         "allow_peer must be str or int, or a sequence of str or int, not list"),
        ({"allow_peer": [True]},
         "allow_peer must be str or int, or a sequence of str or int, not bool"),
        ({"allow_peer": b"www"},
         "allow_peer must be str or int, or a sequence of str or int, not bytes"),
        ({"allow_peer": bytearray(b"www")},
         "allow_peer must be str or int, or a sequence of str or int, not bytearray"),
        ({"allow_peer": memoryview(b"www")},
         "allow_peer must be str or int, or a sequence of str or int, not memoryview"),
    ],
)  # fmt: skip
def test_a_wrong_name_or_type_in_code_is_a_type_error(in_code: dict[str, Any], reason: str) -> None:
    with pytest.raises(TypeError) as raised:
        check(in_code)
    assert str(raised.value) == reason


def test_a_path_of_bytes_is_a_type_error() -> None:
    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"/a"

    with pytest.raises(TypeError, match=r"^listen must be str or os\.PathLike, not bytes$"):
        check({"listen": BytesPath()})


@pytest.mark.parametrize(
    ("in_code", "reason"),
    [
        ({"buffer_size": 7}, "buffer_size: 7 is out of range: it must be 10 to 65540"),
        ({"buffer_size": -1}, "buffer_size: '-1' is no whole number from 10 to 65540"),
        ({"max_pending_bytes": 2**31},
         "max_pending_bytes: 2147483648 is out of range: it must be 0 to 2147483647"),
        ({"listen": "a"}, "listen: 'a' is not absolute: it must begin with /"),
        ({"listen": Path("a")}, "listen: 'a' is not absolute: it must begin with /"),
        ({"listen": "/a\0"},
         r"listen: '/a\x00' can't be a file's name: it is empty or has a NUL character"),
        ({"user": ""}, "user: '' can't be a name: it is empty or has a NUL character"),
        ({"allow_peer": ["www", ""]},
         "allow_peer: '' can't be a name: it is empty or has a NUL character"),
        ({"log_level": "loud"},
         "log_level: 'loud' is none of debug, info, warning, error, critical"),
        ({"trust": "Via"}, "trust: 'Via' is none of X-Forwarded-For, Forwarded, X-Real-IP"),
        ({"ping_interval": 0.2},
         "ping_interval: 0.2 is out of range: it must be 0.25 to 86400, or 0"),
        ({"ping_interval": 1e-9},
         "ping_interval: 0.000000001 is out of range: it must be 0.25 to 86400, or 0"),
        ({"ping_interval": 86401},
         "ping_interval: 86401 is out of range: it must be 0.25 to 86400, or 0"),
        ({"ping_interval": 1.234567e-5},
         "ping_interval: 0.00001234567 is out of range: it must be 0.25 to 86400, or 0"),
        ({"idle_timeout": 1e22},
         "idle_timeout: 10000000000000000000000 is out of range: it must be 0.25 to 86400, or 0"),
        ({"idle_timeout": float("nan")},
         "idle_timeout: 'nan' is no number of seconds, such as 20 or 0.5"),
        ({"idle_timeout": float("inf")},
         "idle_timeout: 'inf' is no number of seconds, such as 20 or 0.5"),
        ({"stop_grace": -0.5}, "stop_grace: '-0.5' is no number of seconds, such as 20 or 0.5"),
    ],
)  # fmt: skip
def test_a_value_in_code_is_held_to_the_ranges_of_the_command_line(
    in_code: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError) as raised:
        check(in_code)
    assert str(raised.value) == reason


@pytest.mark.parametrize("name", ["buffer_size", "ping_interval"])
def test_a_number_that_is_too_long_to_print_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        check({name: 10**5000})


# Which goes before which


def test_the_command_line_goes_before_the_code_and_that_before_the_table() -> None:
    in_code = check({"buffer_size": 100, "max_connections": 5, "origin": ["same", "none"]})
    on_line = given(arguments_of("-b", "200", "--max-waiting", "3"))
    assert merge(on_line, in_code) == Settings(
        buffer_size=200, max_connections=5, max_waiting=3, origin=("same", "none")
    )
    assert merge({}, {}) == Settings()


def test_an_option_that_says_the_default_of_the_table_still_goes_before_the_code() -> None:
    in_code = check({"buffer_size": 100, "slow_clients": "close", "ping_timeout": 0})
    on_line = given(arguments_of("-b", "65540", "--slow-clients", "refuse", "--ping-timeout", "20"))
    assert merge(on_line, in_code) == Settings()


def test_what_may_be_repeated_replaces_what_the_code_gives() -> None:
    in_code = check({"origin": ["same", "none"], "allow_peer": ["www", 33]})
    on_line = given(arguments_of("--origin", "https://example.org", "--allow-peer", "nginx"))
    assert merge(on_line, in_code) == Settings(
        origin=("https://example.org",), allow_peer=("nginx",)
    )
    assert in_code["origin"] == ("same", "none")


def test_a_switch_that_the_code_turns_on_can_be_turned_off() -> None:
    in_code = check({"foreground": True, "no_restart": True, "keep_requests": True})
    assert merge({}, in_code) == Settings(foreground=True, no_restart=True, keep_requests=True)
    on_line = given(arguments_of("--no-foreground", "--restart", "--no-keep-requests"))
    assert merge(on_line, in_code) == Settings()


def test_what_was_not_given_is_told_from_what_was() -> None:
    assert given(arguments_of()) == {}
    assert vars(arguments_of()) == {}
    assert given(argparse.Namespace(server="a.py", buffer_size=65540)) == {"buffer_size": 65540}


def test_two_uses_of_one_parser_do_not_share_what_was_repeated() -> None:
    parser = CommandLine(prog="command")
    add_arguments(parser, defaults=check({"origin": ["none"]}))
    for _ in range(2):
        assert given(parser.parse_args(["--origin", "same"])) == {"origin": ("same",)}


# As options again


def test_the_options_of_what_was_given_give_it_again() -> None:
    everything = {
        "buffer_size": 10, "listen": "/a b", "max_connections": 3, "user": "-u", "group": "33",
        "foreground": True, "no_restart": False, "config_file": "--x", "log_level": "debug",
        "log": "/chat.log", "log_format": "json", "access_log": False,
        "slow_handler": 0.0,
        "origin": ("same", "https://*.example.org"), "trust": "Forwarded",
        "allow_peer": ("www", "33"), "health": "/h", "rfc": False, "max_message": 1,
        "deflate": True,
        "deflate_takeover": "both", "deflate_window_bits": 9, "deflate_from": 0,
        "handshake_timeout": 0.5, "max_head": 1024, "max_handshakes": 7, "max_per_client": 0,
        "max_message_rate": 1, "close_timeout": 3600.0, "stop_timeout": 0.0, "max_buffered": 0,
        "slow_clients": "close", "max_pending_bytes": 0,
        "ping_interval": 0.25, "ping_timeout": 20.0, "idle_timeout": 86400.0, "max_waiting": 1,
        "stop_grace": 1e-05, "event_loop": "asyncio", "keep_requests": False,
    }  # fmt: skip
    assert list(everything) == list(BY_NAME)
    assert given(arguments_of(*options_of(everything))) == everything
    assert options_of({}) == []


def dev_options(*words: str) -> list[str]:
    commands = argparse.ArgumentParser().add_subparsers()
    dev.add_parser(commands)
    return dev._passed_on(commands.choices["dev"].parse_args(["server.py", *words]))


def test_dev_passes_on_what_was_given_and_runs_as_who_started_it() -> None:
    as_this_user = [f"--user={os.geteuid()}", f"--group={os.getegid()}"]
    assert dev_options() == as_this_user
    assert dev_options("--port", "0", "-u", "www", "-g", "7") == ["--user=www", "--group=7"]
    assert dev_options(
        "--origin", "same", "--log-level", "info", "--restart", "--origin", "none",
        "--ping-interval", "0.5", "--no-keep-requests", "-m", "16384",
    ) == [
        "--max-connections=16384", *as_this_user, "--restart", "--log-level=info", "--origin=same",
        "--origin=none", "--ping-interval=0.5", "--no-keep-requests",
    ]  # fmt: skip


def test_settings_cannot_change_while_the_server_runs() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().buffer_size = 5  # type: ignore[misc]
