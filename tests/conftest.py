"""Fixtures for all tests."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import ignored, machine, programs
from tests.support.harness import Harness, LogRecords
from tests.support.servers import ADDRESS, Servers

ignored.catch()

# What tests make is for other users to read, unless they say otherwise.
os.umask(0o022)

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling


def pytest_configure(config: pytest.Config) -> None:
    runs_no_tests = hasattr(config.option, "dist") and config.option.dist != "no"
    if hasattr(config, "workerinput") or not runs_no_tests:
        machine.take_own_machine()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Where no test has imported Hypothesis, its plugin would do so at the end, for a list that is
    # empty then. (What only hands tests to others has their reports.)
    config = session.config
    runs_tests = getattr(config.option, "dist", "no") == "no"
    plugin = config.pluginmanager.get_plugin("hypothesispytest")
    if plugin is not None and runs_tests and "hypothesis" not in sys.modules:
        config.pluginmanager.unregister(plugin)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))
    programs.skip_what_lacks_something(items)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.pluginmanager.has_plugin("randomly"):
        seed = config.getoption("randomly_seed")
        terminalreporter.write_line(f"this order again: -p randomly --randomly-seed={seed}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    from tests.support.parallel import processes

    return processes()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "Scheduling":
    from tests.support.parallel import ByFile

    return ByFile(config, log)


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
    assert not re.search(ADDRESS, handler.messages), "the log names an address in memory"
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
