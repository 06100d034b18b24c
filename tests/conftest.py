"""Fixtures for all tests."""

import logging
from collections.abc import Iterator

import pytest

from tests.support.harness import Harness, LogRecords


@pytest.fixture
def log() -> Iterator[LogRecords]:
    """The records that dorrit logs during the test."""
    handler = LogRecords()
    logger = logging.getLogger("dorrit")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture
def harness(log: LogRecords) -> Iterator[Harness]:
    """An engine with its default settings; a fault inside it fails the test."""
    with Harness() as made:
        yield made
    faults = [r for r in log.records if r.levelno >= logging.CRITICAL]
    assert not faults, log.text
