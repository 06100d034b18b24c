"""The limit of descriptors (R32)."""

import resource
import sys
from typing import Final

BESIDES: Final = 64
"""Descriptors for everything that is not a connection: the library's own, and the server's."""


def raise_descriptor_limit(connections: int, *, besides: int = 0) -> str | None:
    """Raise the limit of descriptors so that this many connections fit; never lower it.

    Args:
        connections: Simultaneous connections.
        besides: Descriptors to have in reserve, on top of `BESIDES`.

    Returns:
        None, or one line that says why they may not fit. The limit has then been raised as far as
        it goes.
    """
    wanted = connections + besides + BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _at_least(soft, wanted):
        return None
    # Anybody may raise the soft limit up to the hard one; to raise that takes a privilege.
    if _set(wanted, hard if _at_least(hard, wanted) else wanted):
        return None
    limit = hard if _set(hard, hard) else soft
    return (
        f"the limit of {limit} descriptors is too low for {connections} connections, which need "
        f"{wanted}; there will be {connections_within(limit)} at the most: raise it (ulimit -n), "
        "or lower -m, --max-connections"
    )


def connections_within(limit: int) -> int:
    """Return for how many connections there are descriptors besides those for all else.

    Without those no reload could begin, no crash be outlived, and no file be opened.

    Args:
        limit: Of descriptors, or `resource.RLIM_INFINITY`.
    """
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(limit - BESIDES, limit // 2)


def _set(soft: int, hard: int) -> bool:
    """Set the limit; return whether the system let us.

    setrlimit(2): "EPERM An unprivileged process tried to raise the hard limit", which Python turns
    into a ValueError, and which even root hears beyond what the kernel can do.
    """
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (OSError, ValueError):
        return False
    return True


def _at_least(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted
