"""As many descriptors as a test takes."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Let this process have so many, which takes root if its hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The hard limit stays where it is then: it is not always possible to raise it again.
    hard = max(hard, count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
