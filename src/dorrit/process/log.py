"""Where log records go."""

import logging
import sys


def log_to_stderr(level: str) -> None:
    """Write the records of the logger ``dorrit`` to stderr, those of `level` and above.

    Args:
        level: A name of `dorrit.settings.LOG_LEVELS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dorrit")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
