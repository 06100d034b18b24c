"""The limit of descriptors (R32)."""

import resource

BESIDES = 64
"""Descriptors for everything that is no connection: the library's own, and the server's files."""


def raise_descriptor_limit(connections: int) -> str | None:
    """Raise the limit of descriptors so that this many connections fit.

    Returns:
        None, or one line that says why they may not fit.
    """
    wanted = connections + BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _at_least(soft, wanted):
        return None
    target_hard = hard if _at_least(hard, wanted) else wanted  # only root may raise it
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, target_hard))
    except (OSError, ValueError):
        # As far as it goes.
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            hard = soft
        return (
            f"the limit of {hard} descriptors is too low for {connections} connections, which need "
            f"{wanted}: raise it (ulimit -n), or lower -m, --max-connections"
        )
    return None


def _at_least(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted
