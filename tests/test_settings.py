"""Every option's type, range and default (R30 to R32, R34, R35)."""

import argparse
import dataclasses
from typing import Any

import pytest

from dorrit.errors import StartError
from dorrit.settings import SETTINGS, CommandLine, Settings, add_arguments, settings_of

BY_NAME = {setting.name: setting for setting in SETTINGS}


def parse(*words: str, leave_out: tuple[str, ...] = ()) -> Settings:
    parser = CommandLine(prog="command")
    add_arguments(parser, leave_out)
    return settings_of(parser.parse_args(words))


def test_the_defaults_are_those_of_the_table_in_both_places() -> None:
    assert parse() == Settings()
    assert dataclasses.asdict(Settings()) == {s.name: s.default for s in SETTINGS}
    assert Settings() == Settings(
        buffer_size=65540, listen=None, max_connections=16384, foreground=False,
        config_file=None, log_level="info",
    )  # fmt: skip


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
    ],
)
def test_each_option_sets_what_it_is_called(words: list[str], name: str, value: Any) -> None:
    assert parse(*words) == dataclasses.replace(Settings(), **{name: value})


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
        (["-b"], "argument -b/--buffer-size: expected one argument"),
        (["--buffer", "100"], "unrecognized arguments: --buffer 100"),
        (["-q"], "unrecognized arguments: -q"),
        (["surplus"], "unrecognized arguments: surplus"),
    ],
)
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


@pytest.mark.parametrize("name", ["listen", "config_file"])
def test_a_name_with_a_nul_character_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        BY_NAME[name].read("/tmp/a\0b")


def test_what_is_left_out_has_its_default_and_is_no_option() -> None:
    assert parse(leave_out=("listen", "foreground")) == Settings()
    with pytest.raises(StartError, match="unrecognized arguments: -x"):
        parse("-x", leave_out=("listen", "foreground"))


def test_the_help_of_each_option_says_its_default_and_its_range() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    text = " ".join(parser.format_help().split())
    for phrase in (
        "-b N, --buffer-size N", "10 to 65540", "(default: 65540)",
        "-l PATH, --listen PATH", "(default: /var/run/NAME.socket",
        "-m N, --max-connections N", "1 to 10000000", "(default: 16384)",
        "-x, --foreground",
        "-f FILE, --config-file FILE",
        "--log-level LEVEL", "debug, info, warning, error or critical", "(default: info)",
    ):  # fmt: skip
        assert phrase in text


def test_settings_cannot_change_while_the_server_runs() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().buffer_size = 5  # type: ignore[misc]
