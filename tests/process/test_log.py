"""Where log records go (R23)."""

import logging
import re
from collections.abc import Iterator

import pytest

from dorrit.process.log import Log
from dorrit.settings import LOG_LEVELS

logger = logging.getLogger("dorrit")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    logger.propagate = before[2]


def test_R23_a_record_is_one_line_on_stderr_with_time_and_level(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Log("info")
    logger.warning("%s has happened", "something")
    out, err = capfd.readouterr()
    assert re.fullmatch(r"[-\d]{10} [:\d]{8},\d{3} WARNING something has happened\n", err)
    assert out == ""


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_records_below_the_level_are_left_out(
    capfd: pytest.CaptureFixture[str], level: str
) -> None:
    Log(level)
    for name in LOG_LEVELS:
        logger.log(logging.getLevelNamesMapping()[name.upper()], "x")
    written = [line.split()[2].lower() for line in capfd.readouterr().err.splitlines()]
    assert written == list(LOG_LEVELS[LOG_LEVELS.index(level) :])


def test_records_are_written_once_however_often_it_is_set_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging.lastResort, before = None, logging.lastResort
    root = logging.StreamHandler()
    logging.getLogger().addHandler(root)
    try:
        Log("info")
        Log("info")
        logger.info("once")
    finally:
        logging.lastResort = before
        logging.getLogger().removeHandler(root)
    assert capfd.readouterr().err.count("once") == 1
