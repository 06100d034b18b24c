"""Fixtures for the engine's tests."""

from collections.abc import Iterator

import pytest

from tests.support.harness import LogRecords
from tests.support.narrow import NarrowHarness


@pytest.fixture
def narrow(log: LogRecords) -> Iterator[NarrowHarness]:
    """Like `harness`; the kernel takes only some KB for a client that does not read."""
    with NarrowHarness() as made:
        yield made
