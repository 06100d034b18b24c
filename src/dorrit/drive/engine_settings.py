"""What the settings of a run mean to the engine. Both have them under the same names."""

from dorrit.engine.limits import Limits
from dorrit.process.credentials.privileges import user_number
from dorrit.settings import SETTINGS, Settings


def limits_of(settings: Settings) -> Limits:
    """Return what the engine is told.

    Raises:
        StartError: A user that may connect does not exist.
    """
    told = {one.name: getattr(settings, one.name) for one in SETTINGS if one.engine is not None}
    return Limits(**told | {"allow_peer": users_of(settings)})


def users_of(settings: Settings) -> frozenset[int]:
    """Return the numbers of the users that may connect; empty: everybody who can.

    Raises:
        StartError: There is no such user.
    """
    return frozenset(user_number(word, "--allow-peer") for word in settings.allow_peer)
