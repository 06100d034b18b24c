"""Servers under the traffic of clients that count everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import service_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of the service user's, where sockets have short paths."""
    with service_directory() as path:
        yield path
