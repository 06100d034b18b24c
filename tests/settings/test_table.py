"""The table: each row fits, and what is made of it fits the table."""

import typing
from typing import Any

import pytest

from dorrit.settings import SETTINGS, ServerSettings, Settings, check
from dorrit.settings.readers import text_of
from tests.support.options import parse


def test_the_defaults_are_those_of_the_table() -> None:
    assert parse() == Settings()
    assert Settings()._asdict() == {s.name: s.default for s in SETTINGS}


def test_table_values_and_what_code_may_give_have_the_same_names_in_the_same_order() -> None:
    names = [setting.name for setting in SETTINGS]
    assert list(Settings._fields) == names
    assert list(typing.get_type_hints(ServerSettings)) == names
    assert ServerSettings.__required_keys__ == frozenset()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_switch_takes_no_value_and_has_an_opposite(setting: Any) -> None:
    assert (setting.metavar is None) == (setting.accepts is bool) == bool(setting.opposite)
    assert not setting.repeatable or setting.default == ()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_default_is_a_value_that_code_may_give(setting: Any) -> None:
    assert check({setting.name: setting.default}) == {setting.name: setting.default}
    if setting.metavar is not None and setting.default not in (None, ()):
        assert setting.read(text_of(setting.default)) == setting.default


def test_settings_cannot_change_while_the_server_runs() -> None:
    with pytest.raises(AttributeError):
        Settings().buffer_size = 5  # type: ignore[misc]
