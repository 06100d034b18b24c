"""What goes before what, and which settings fit each other."""

from typing import Any

import pytest

from dorrit import Server, listen
from dorrit.api.server import application_of
from dorrit.errors import StartError
from dorrit.settings import Settings, check, check_together, given, merge
from tests.support.options import arguments_of


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
        check_together(Settings(**settings))
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
