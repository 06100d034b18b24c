"""The settings of all of RFC 6455, of compression and limits, and which of them fit each other."""

import dataclasses
from typing import Any

import pytest

from dorrit import Server, listen
from dorrit.api.server import application_of
from dorrit.errors import StartError
from dorrit.settings import SETTINGS, Settings, check, check_together, merge

BY_NAME = {setting.name: setting for setting in SETTINGS}


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("max_message", 1, 2**30),
        ("deflate_window_bits", 9, 15),
        ("deflate_from", 0, 2**30),
        ("max_head", 1024, 65536),
        ("max_handshakes", 1, 10_000_000),
        ("max_per_client", 0, 10_000_000),
        ("max_message_rate", 0, 1_000_000),
        ("max_buffered", 16 * 2**20, 2**50),
        ("handshake_timeout", 0.25, 3600),
        ("close_timeout", 0.25, 3600),
        ("stop_timeout", 0, 3600),
    ],
)
def test_each_limit_has_its_range(name: str, least: float, most: float) -> None:
    step = 0.125 if isinstance(BY_NAME[name].default, float) else 1
    assert check({name: least}) == {name: least}
    assert check({name: most}) == {name: most}
    for wrong in (most + step, *([least - step] if least > 0 else [])):
        with pytest.raises(ValueError, match=f"^{name}: .* is out of range: it must be "):
            check({name: wrong})
    assert least <= BY_NAME[name].default <= most


@pytest.mark.parametrize("name", ["handshake_timeout", "close_timeout"])
def test_a_deadline_that_guards_against_attacks_can_not_be_turned_off(name: str) -> None:
    with pytest.raises(ValueError, match=r"it must be 0\.25 to 3600$"):
        check({name: 0})


def test_no_limit_of_what_is_buffered_is_said_by_0() -> None:
    assert check({"max_buffered": 0}) == {"max_buffered": 0}
    with pytest.raises(ValueError, match=r"it must be 16777216 to 1125899906842624, or 0$"):
        check({"max_buffered": 1})


def test_servers_of_five_functions_are_strict_and_objects_take_all_of_rfc_6455() -> None:
    assert not Settings().rfc
    assert merge({}, application_of(Server()).defaults).rfc
    assert not merge({}, application_of(Server(rfc=False)).defaults).rfc
    assert not merge({"rfc": False}, application_of(Server()).defaults).rfc


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"deflate": True}, "--deflate needs --rfc"),
        ({"rfc": True, "max_message": 2**24 + 1, "max_buffered": 2**24},
         "--max-buffered must not be less than --max-message: it could not be received"),
        ({"rfc": True, "max_per_client": 1},
         "--max-per-client needs --trust: without it no client's address is known"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_each_other_are_a_usage_error(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(StartError) as caught:
        check_together(dataclasses.replace(Settings(), **settings))
    assert str(caught.value) == reason
    assert caught.value.status == 2


def test_settings_that_fit_each_other_do() -> None:
    check_together(Settings())
    check_together(Settings(rfc=True, deflate=True))
    check_together(Settings(rfc=True, max_message=2**24, max_buffered=2**24))
    check_together(Settings(rfc=True, max_message=2**30, max_buffered=0))
    check_together(Settings(max_message=2**30))  # which means nothing without rfc
    check_together(Settings(max_per_client=1, trust="X-Real-IP"))


def test_a_guest_is_held_to_it_as_well() -> None:
    with pytest.raises(StartError, match="--deflate needs --rfc"):
        listen("/run/never-made.socket", rfc=False, deflate=True)
