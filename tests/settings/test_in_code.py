"""What code gives as settings."""

import collections
import enum
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from dorrit.settings import check


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
            "on_x is not a setting: it is a decorator (@app.on_x), or a method of a subclass",
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
        ({"buffer_size": -1}, "buffer_size: '-1' is not a whole number from 10 to 65540"),
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
         "idle_timeout: 'nan' is not a number of seconds, such as 20 or 0.5"),
        ({"idle_timeout": float("inf")},
         "idle_timeout: 'inf' is not a number of seconds, such as 20 or 0.5"),
        ({"stop_grace": -0.5}, "stop_grace: '-0.5' is not a number of seconds, such as 20 or 0.5"),
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
