"""The settings of a run, of what the command line, the code and the table say."""

from collections.abc import Mapping
from typing import Any

from dorrit.errors import StartError
from dorrit.settings.values import Settings


def merge(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settings:
    """Return the settings of a run: command line over code over table.

    Args:
        given: What stood on the command line, as the function `given` returns it.
        defaults: What the code gives, as `check` returns it.
    """
    return Settings(**{**defaults, **given})


def check_together(settings: Settings) -> None:
    """Look whether the settings of a run fit each other.

    Raises:
        StartError: They do not.
    """
    if settings.deflate and not settings.rfc:
        # An extension changes what frames mean, and the strict rules know no such frames.
        raise StartError("--deflate needs --rfc", status=2)
    if settings.rfc and 0 < settings.max_buffered < settings.max_message:
        raise StartError(
            "--max-buffered must not be less than --max-message: it could not be received",
            status=2,
        )
    if settings.max_per_client and settings.trust is None:
        raise StartError(
            "--max-per-client needs --trust: without it no client's address is known", status=2
        )
