"""Where log records go (R23)."""

import logging
import re
from collections.abc import Iterator

import pytest

from dorrit.logger import logger
from dorrit.process.log.log import Log
from dorrit.settings.readers import LOG_LEVELS
from tests.support.children import run_python
from tests.support.log_daemon import DEV_LOG, FACILITY_DAEMON, log_daemon, no_log_daemon


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    if logger.sink is not None:
        logger.sink.__self__.close()
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


# A daemon's. syslog(3) has one connection for a whole process, so these run in one of their own.


@pytest.mark.root
def test_R23_with_syslog_only_bad_news_goes_to_the_terminal() -> None:
    with log_daemon("chat") as daemon:
        told = run_python(
            """
            logger = logging.getLogger("dorrit")
            os.dup2(1, 2)
            made = log.Log("info")
            logger.info("before")
            made.use_syslog("chat")
            logger.debug("nowhere")
            logger.info("good")
            logger.warning("bad")
            made.leave_terminal()
            logger.error("worse")
            logger.info("the end")
            """
        )
        assert [line.split()[2:] for line in told.splitlines()] == [
            ["INFO", "before"],
            ["WARNING", "bad"],
        ]
        priority, identity, _, text = daemon.received()
        assert (priority, identity, text) == (FACILITY_DAEMON | 6, "chat", "good")
        assert daemon.texts() == ["bad", "worse"]


@pytest.mark.root
def test_R23_sighup_connects_to_the_log_daemon_that_is_there_now() -> None:
    with log_daemon("chat") as daemon:
        told = run_python(
            f"""
            import socket
            made = log.Log("info")
            made.use_syslog("chat")
            made.leave_terminal()
            logging.getLogger("dorrit").info("old")
            os.rename("{DEV_LOG}", "{DEV_LOG}-of-a-test")
            new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            new.bind("{DEV_LOG}")
            try:
                made.reopen()
                print(new.recv(1000).decode().rpartition("]: ")[2])
            finally:
                os.rename("{DEV_LOG}-of-a-test", "{DEV_LOG}")
            """
        )
        assert told.rstrip("\0\n") == "SIGHUP: the log was opened anew"
        assert daemon.received()[3] == "old"
        assert daemon.is_silent


def test_R23_what_goes_to_stderr_cannot_be_opened_anew(capfd: pytest.CaptureFixture[str]) -> None:
    Log("info").reopen()
    err = capfd.readouterr().err
    assert err.endswith(" INFO SIGHUP: the log goes to stderr, which can't be opened anew\n")


CRASH_REPORT = """
made = log.Log("info")
{before}
descriptor, start = made.crash_report()
print(descriptor == 2, start.replace(str(os.getpid()), "PID"))
print(os.get_inheritable(descriptor), os.get_blocking(descriptor))
print(made.crash_report() == (descriptor, start))
os.write(descriptor, (start + "crashed").encode())
"""


@pytest.mark.root
def test_R28_a_daemons_crash_is_a_line_in_the_systems_log() -> None:
    with log_daemon("chat") as daemon:
        told = run_python(CRASH_REPORT.format(before='made.use_syslog("chat")'))
        assert told.splitlines() == ["False <26>chat[PID]: ", "False False", "True"]
        # critical 2
        assert re.fullmatch(rb"<26>chat\[\d+\]: crashed", daemon.datagram())
        assert daemon.is_silent


@pytest.mark.root
def test_R28_without_a_log_daemon_a_crash_is_said_on_stderr() -> None:
    code = CRASH_REPORT.format(before='made.use_syslog("chat"); os.dup2(1, 2)')
    with no_log_daemon():
        told = run_python(code)
    assert "True dorrit[PID]: " in told.splitlines()
    assert re.search(r"dorrit\[\d+\]: crashed", told)


@pytest.mark.root
def test_R28_a_crash_in_the_foreground_is_said_on_stderr() -> None:
    with log_daemon("chat", "dorrit") as daemon:
        told = run_python(CRASH_REPORT.format(before="os.dup2(1, 2)"))
        assert "True dorrit[PID]: " in told.splitlines()
        assert re.search(r"dorrit\[\d+\]: crashed", told)
        assert daemon.is_silent
