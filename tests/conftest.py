"""Fixtures for all tests."""

import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import Harness, LogRecords
from tests.support.servers import Servers

# A shell has what it starts with & ignore SIGINT and SIGQUIT, nohup(1) has it ignore SIGHUP, and so
# would the servers of the tests: what is ignored stays so across execve(2), what is caught doesn't.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


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


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path so short that sockets fit; everybody may look into it."""
    with tempfile.TemporaryDirectory(prefix="dorrit-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def servers(directory: Path) -> Iterator[Servers]:
    """Starts servers, and ends those that the test leaves."""
    started = Servers(directory)
    yield started
    started.close()
