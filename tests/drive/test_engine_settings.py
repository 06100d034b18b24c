"""What the settings of a run mean to the engine."""

import os
import pwd
import resource
from dataclasses import fields, replace

import pytest

from dorrit.drive.engine_settings import limits_of
from dorrit.engine import Engine
from dorrit.engine.limits import Limits
from dorrit.errors import StartError
from dorrit.process.start.limits import connections_within
from dorrit.settings import SETTINGS, Setting, Settings
from tests.support.children import run_python
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
        expected = value
        if setting.name == "max_connections":
            soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            expected = min(value, connections_within(soft))
        assert getattr(told, setting.name) == expected
        Engine(on_open=print, on_message=print, on_close=print, limits=told).close()


def test_who_sets_nothing_has_the_engine_that_is_told_nothing() -> None:
    assert replace(limits_of(Settings()), max_connections=Limits().max_connections) == Limits()


def test_there_are_no_more_connections_than_descriptors_for_them() -> None:
    told = run_python(
        """
        import resource
        from dorrit.drive.engine_settings import limits_of
        from dorrit.settings import Settings
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
        for wanted in (16384, 9):
            print(limits_of(Settings(max_connections=wanted)).max_connections)
        """
    )
    assert told == "936\n9\n"


def test_what_is_set_is_what_the_engine_is_told() -> None:
    told = {"rfc": True, "max_message_rate": 7, "slow_clients": "close", "idle_timeout": 2.5}
    told["max_connections"] = 9
    assert limits_of(Settings(**told)) == Limits(**told)


def test_users_that_may_connect_are_their_numbers_to_the_engine() -> None:
    mine = os.geteuid()
    settings = Settings(allow_peer=(pwd.getpwuid(mine).pw_name, str(mine + 1)))
    assert limits_of(settings).allow_peer == {mine, mine + 1}


def test_a_user_that_does_not_exist_stops_the_start() -> None:
    with pytest.raises(StartError, match="--allow-peer"):
        limits_of(Settings(allow_peer=("nobody-has-this-name",)))
