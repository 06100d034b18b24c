"""What the settings of a run mean to the engine. Both have them under the same names."""

import resource

from dorrit.engine.limits import Limits
from dorrit.process.credentials.privileges import user_number
from dorrit.process.start.limits import connections_within
from dorrit.settings import SETTINGS, Settings


def limits_of(settings: Settings) -> Limits:
    """Return what the engine is told.

    Raises:
        StartError: A user that may connect does not exist.
    """
    told = {one.name: getattr(settings, one.name) for one in SETTINGS if one.engine is not None}
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(settings.max_connections, connections_within(descriptors))
    return Limits(**told | {"allow_peer": users_of(settings), "max_connections": most})


def users_of(settings: Settings) -> frozenset[int]:
    """Return the numbers of the users that may connect; empty: everybody who can.

    Raises:
        StartError: There is no such user.
    """
    return frozenset(user_number(word, "--allow-peer") for word in settings.allow_peer)
