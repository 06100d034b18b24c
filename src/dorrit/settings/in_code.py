"""What code gives as settings, as the command line would give it."""

import os
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, cast

from dorrit.errors import closest
from dorrit.settings.readers import text_of
from dorrit.settings.setting import Setting
from dorrit.settings.table import SETTINGS


def check(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings that code gives as the command line would give them.

    They are held to the same ranges: a path becomes its text, the number of a user its digits, what
    may be repeated a tuple.

    Args:
        settings: What `ServerSettings` lists, or a part of it.

    Raises:
        TypeError: There is no such setting, or its value has the wrong type.
        ValueError: The value is out of range.
    """
    by_name = {setting.name: setting for setting in SETTINGS}
    checked: dict[str, Any] = {}
    for name, value in settings.items():
        if name.startswith("on_"):
            raise TypeError(
                f"{name} is not a setting: it is a decorator (@app.{name}), or a method of a "
                "subclass"
            )
        if name not in by_name:
            similar = closest(name, by_name)
            hint = f": did you mean {similar}?" if similar else ""
            raise TypeError(f"Server() has no setting {name!r}{hint}")
        checked[name] = _checked(by_name[name], value)
    return checked


def _checked(setting: Setting, value: object) -> object:
    if value is None and setting.default is None:
        return None
    if not setting.repeatable or _is_a(setting.accepts, value):
        one = _checked_one(setting, value)
        return (one,) if setting.repeatable else one
    # The bytes of b"www" are numbers, which might be users.
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return tuple(_checked_one(setting, one) for one in value)
    raise _wrong_type(setting, value)


def _checked_one(setting: Setting, value: object) -> object:
    if not _is_a(setting.accepts, value):
        raise _wrong_type(setting, value)
    if isinstance(value, bool):
        return value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
        if not isinstance(value, str):  # a path may be bytes
            raise _wrong_type(setting, value)
    try:
        return cast("object", setting.read(text_of(value)))
    except ValueError as error:
        raise ValueError(f"{setting.name}: {error}") from None


def _is_a(accepts: type | UnionType, value: object) -> bool:
    # A bool is an int to Python, but nobody means a size of True.
    return isinstance(value, accepts) and (accepts is bool or not isinstance(value, bool))


def _wrong_type(setting: Setting, value: object) -> TypeError:
    accepts = setting.accepts
    types = accepts.__name__ if isinstance(accepts, type) else str(accepts).replace(" | ", " or ")
    several = f", or a sequence of {types}" if setting.repeatable else ""
    return TypeError(f"{setting.name} must be {types}{several}, not {type(value).__name__}")
