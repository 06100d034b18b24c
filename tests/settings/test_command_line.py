"""Every option's type, range and default (R30 to R32, R34, R35)."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dorrit.cli import dev
from dorrit.errors import StartError
from dorrit.settings import SETTINGS, CommandLine, Settings, add_arguments, check, given, options_of
from dorrit.settings.readers import NO_TCP
from tests.support.options import BY_NAME, arguments_of, parse, values_of


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
    assert parsed == Settings(**{name: value})
    assert type(getattr(parsed, name)) is type(value)  # 20 == 20.0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-b", "9"], "argument -b/--buffer-size: 9 is out of range: it must be 10 to 65540"),
        (["-b", "65541"], "65541 is out of range: it must be 10 to 65540"),
        (["-b", "9" * 5000], "is out of range: it must be 10 to 65540"),
        (["-b", "abc"], "'abc' is not a whole number from 10 to 65540"),
        (["-b", "1e3"], "'1e3' is not a whole number"),
        (["-b", "1_000"], "'1_000' is not a whole number"),
        (["-b", " 99"], "' 99' is not a whole number"),
        (["-b", "٩٩"], "'٩٩' is not a whole number"),
        (["-b", "99\n"], r"'99\n' is not a whole number"),
        (["-b", ""], "'' is not a whole number"),
        (["-m", "0"], "argument -m/--max-connections: 0 is out of range: it must be 1 to 10000000"),
        (["-m", "-1"], "'-1' is not a whole number from 1 to 10000000"),
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
        (["--max-pending-bytes", "1.5"], "'1.5' is not a whole number from 0 to 2147483647"),
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
         "argument --health: 'health' is not the path of a URL: it must begin with /"),
        (["--health", ""], "'' is not the path of a URL: it must begin with /"),
        (["--health", "/h?a"], "'/h?a' is not the path of a URL: it must have no query"),
        (["--health", "/h#a"], "'/h#a' is not the path of a URL: it must have no query"),
        (["--health", "/h a"], "'/h a' is not the path of a URL: what is not visible ASCII"),
        (["--health", "/h\u00e9"], "is not the path of a URL: what is not visible ASCII"),
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


def test_what_is_left_out_has_its_default_and_is_no_option() -> None:
    assert parse(leave_out=("listen", "foreground")) == Settings()
    with pytest.raises(StartError, match="unrecognized arguments: -x"):
        parse("-x", leave_out=("listen", "foreground"))


def help_text(defaults: Mapping[str, Any] | None = None) -> str:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, defaults=defaults)
    return " ".join(parser.format_help().split())


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
        "--keep-requests, --no-keep-requests", "in the open handler only",
    ):  # fmt: skip
        assert phrase in text
    assert text.endswith("in the open handler only")  # a switch that is off says no default


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
        "errors on stderr (default: --foreground) --supervise",
        "(default: same, none) --trust",
        "(default: www) --health",
        "0: never (default: 0.5) --ping-timeout",
        "with the process (default: 0.00001) --resume-timeout",
        "0: never (default: 20) --idle-timeout",  # of the table
    ):
        assert phrase in text
    assert text.endswith("in the open handler only")


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
    for everything in zip(*map(values_of, SETTINGS), strict=False):
        settings = dict(zip(BY_NAME, everything, strict=True))
        assert given(arguments_of(*options_of(settings))) == settings
    assert options_of({}) == []


def test_a_small_number_is_an_option_without_an_exponent() -> None:
    assert options_of({"stop_grace": 1e-05}) == ["--stop-grace=0.00001"]


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
