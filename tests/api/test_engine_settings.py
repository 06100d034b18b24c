"""What the settings of a run mean to the engine."""

import os
import pwd
from dataclasses import fields

import pytest

from dorrit.api.engine_settings import limits_of
from dorrit.engine.limits import Limits
from dorrit.errors import StartError
from dorrit.settings import Settings

NO_SETTINGS = {"linger_timeout"}
"""What an engine can be told all the same."""


def test_the_settings_have_what_an_engine_is_told_under_the_same_names() -> None:
    names = {field.name for field in fields(Limits)}
    assert names - {field.name for field in fields(Settings)} == NO_SETTINGS


def test_who_sets_nothing_has_the_engine_that_is_told_nothing() -> None:
    assert limits_of(Settings()) == Limits()


def test_what_is_set_is_what_the_engine_is_told() -> None:
    settings = Settings(rfc=True, max_message_rate=7, slow_clients="close", idle_timeout=2.5)
    assert limits_of(settings) == Limits(
        rfc=True, max_message_rate=7, slow_clients="close", idle_timeout=2.5
    )


def test_users_that_may_connect_are_their_numbers_to_the_engine() -> None:
    mine = os.geteuid()
    settings = Settings(allow_peer=(pwd.getpwuid(mine).pw_name, str(mine + 1)))
    assert limits_of(settings).allow_peer == {mine, mine + 1}


def test_a_user_that_does_not_exist_stops_the_start() -> None:
    with pytest.raises(StartError, match="--allow-peer"):
        limits_of(Settings(allow_peer=("nobody-has-this-name",)))
