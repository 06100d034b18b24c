"""What the settings of a run mean to the engine. Both have them under the same names."""

from dataclasses import fields
from typing import Final

from dorrit.engine.limits import Limits
from dorrit.process.privileges import user_number
from dorrit.settings import Settings

TAKEN: Final = {field.name for field in fields(Limits)} & {field.name for field in fields(Settings)}
"""The settings that are a matter of the engine."""


def limits_of(settings: Settings) -> Limits:
    """Return what the engine is told.

    Raises:
        StartError: A user that may connect does not exist.
    """
    taken = {name: getattr(settings, name) for name in TAKEN}
    return Limits(**taken | {"allow_peer": users_of(settings)})


def users_of(settings: Settings) -> frozenset[int]:
    """Return the numbers of the users that may connect; empty: everybody who can.

    Raises:
        StartError: There is no such user.
    """
    return frozenset(user_number(word, "--allow-peer") for word in settings.allow_peer)
