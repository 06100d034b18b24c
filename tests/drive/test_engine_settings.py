"""What the settings of a run mean to the engine."""

import os
import pwd
from dataclasses import fields

import pytest

from dorrit.drive.engine_settings import limits_of
from dorrit.engine import Engine
from dorrit.engine.limits import Limits
from dorrit.errors import StartError
from dorrit.settings import SETTINGS, Setting, Settings
from tests.support.options import values_of

OF_ENGINE = [setting for setting in SETTINGS if setting.engine is not None]


def test_an_engine_is_told_the_settings_of_the_same_names_and_one_thing_more() -> None:
    names = [field.name for field in fields(Limits)]
    assert names == ["linger_timeout", *(setting.name for setting in OF_ENGINE)]


ONE_VALUE = [setting for setting in OF_ENGINE if not setting.repeatable]


@pytest.mark.parametrize("setting", ONE_VALUE, ids=lambda setting: setting.name)
def test_whatever_a_setting_may_be_can_be_told_to_the_engine(setting: Setting) -> None:
    for value in values_of(setting):
        told = limits_of(Settings(**{setting.name: value}))
        assert getattr(told, setting.name) == value
        Engine(on_open=print, on_message=print, on_close=print, limits=told).close()


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
