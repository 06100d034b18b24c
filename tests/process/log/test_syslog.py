"""The log of a daemon (R23), on the socket that syslog(3) writes to. These tests need root."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from dorrit.process.log.syslog import crash_line
from tests.support.log_daemon import DEV_LOG, FACILITY_DAEMON, LogDaemon, log_daemon, no_log_daemon


@pytest.fixture
def no_daemon() -> Iterator[None]:
    with no_log_daemon():
        yield


@pytest.fixture
def daemon() -> Iterator[LogDaemon]:
    with log_daemon("chat") as made:
        yield made


BEGINNING = """\
import logging, os, sys
from dorrit.process.log.layout import text_lines
from dorrit.process.log.syslog import Syslog

class SyslogHandler(logging.Handler):
    def __init__(self, identity):
        super().__init__()
        self.outlet = Syslog(identity)
    def emit(self, record):
        self.outlet.write(record, text_lines)
    def reopen(self):
        self.outlet.reopen()
    def close(self):
        self.outlet.close()

logger = logging.getLogger("dorrit")
logger.setLevel(logging.DEBUG)
logger.propagate = False

"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str) -> int:
    """Run code to its end, which must be without a word on stderr; return its pid."""
    with start(code) as process:
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    return process.pid


@pytest.mark.root
def test_R23_messages_have_the_name_the_pid_and_the_facility_daemon(daemon: LogDaemon) -> None:
    pid = run("logger.addHandler(SyslogHandler('chat')); logger.info('listening on %s', '/a')")
    assert daemon.received() == (FACILITY_DAEMON | 6, "chat", pid, "listening on /a")
    assert daemon.is_silent


@pytest.mark.root
def test_R23_levels_become_priorities(daemon: LogDaemon) -> None:
    run(
        """
        logger.addHandler(SyslogHandler("chat"))
        for level in (10, 15, 20, 25, 30, 40, 49, 50, 60):
            logger.log(level, "%d", level)
        """
    )
    # syslog(3): critical 2, error 3, warning 4, information 6, debug 7.
    found = [daemon.received() for _ in range(9)]
    assert [(int(text), priority - FACILITY_DAEMON) for priority, _, _, text in found] == [
        (10, 7), (15, 7), (20, 6), (25, 6), (30, 4), (40, 3), (49, 3), (50, 2), (60, 2)
    ]  # fmt: skip


@pytest.mark.root
def test_R23_it_works_without_privileges(daemon: LogDaemon) -> None:
    run(
        """
        logger.addHandler(SyslogHandler("chat"))
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        logger.error("still there")
        """
    )
    assert daemon.received()[3] == "still there"


@pytest.mark.root
def test_R23_a_forked_process_logs_under_its_own_pid(daemon: LogDaemon) -> None:
    pid = run(
        """
        logger.addHandler(SyslogHandler("chat"))
        child = os.fork()
        if child == 0:
            logger.info("%d", os.getpid())
            os._exit(0)
        os.waitpid(child, 0)
        """
    )
    _, _, own, text = daemon.received()
    assert own == int(text) != pid


@pytest.mark.root
def test_R23_a_traceback_is_a_message_for_each_line(daemon: LogDaemon) -> None:
    run(
        """
        logger.addHandler(SyslogHandler("chat"))
        try:
            raise ValueError("a client's\\n<34>Oct 11 22:14:15 su: forged")
        except ValueError:
            logger.exception("a callback raised")
        logger.info("the end")
        """
    )
    first, *others, last, forged = daemon.texts()
    assert first == "a callback raised"
    assert others[0] == "| Traceback (most recent call last):"
    assert all(line.startswith("| ") for line in others)
    assert last == "| ValueError: a client's"
    assert forged == "| <34>Oct 11 22:14:15 su: forged"


@pytest.mark.root
def test_R23_what_a_terminal_does_not_print_is_escaped(daemon: LogDaemon) -> None:
    run(
        r"""
        logger.addHandler(SyslogHandler("chat"))
        logger.info("a\x1b[2Jb\x00c\td\re\x7ff\x85g\u2028h\u202ei\udc80j\U000e0001k é 日 %s \\ '")
        logger.info("")
        logger.info("the end")
        """
    )
    assert daemon.texts() == [
        r"a\x1b[2Jb\x00c\td\re\x7ff\x85g\u2028h\u202ei\udc80j\U000e0001k é 日 %s \ '",
        "",
    ]


@pytest.mark.root
def test_R23_the_name_can_not_forge_anything_either(daemon: LogDaemon) -> None:
    run(r"logger.addHandler(SyslogHandler('a\nb\x1b%s-chat')); logger.info('text')")
    assert daemon.received()[1] == r"a\nb\x1b%s-chat"


@pytest.mark.root
def test_R23_a_long_line_is_cut_and_still_arrives(daemon: LogDaemon) -> None:
    run(
        """
        logger.addHandler(SyslogHandler("chat"))
        logger.info("a" * 2000)
        logger.info("b" * 1_000_000)
        logger.info("é" * 2001 + "\\n" + "c" * 10)
        logger.info("the end")
        """
    )
    assert daemon.texts() == [
        "a" * 2000,
        "b" * 2000 + "... (1000000 characters)",
        "é" * 2000 + "... (2001 characters)",
        "| " + "c" * 10,
    ]


@pytest.mark.root
def test_R23_the_log_daemon_may_be_replaced(daemon: LogDaemon) -> None:
    code = """
    handler = SyslogHandler("chat")
    logger.addHandler(handler)
    for text in "one", "lost", "two", "three", "four":
        sys.stdin.readline()
        if text == "four":
            handler.reopen()
        logger.info(text)
        print(flush=True)
    handler.close()
    print(len(os.listdir("/proc/self/fd")), flush=True)
    """
    with start(code) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def log() -> None:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "\n"

        log()
        assert daemon.received()[3] == "one"
        daemon.stop()
        log()  # it goes on, though nobody listens
        daemon.listen()
        log()  # it looks for another daemon by itself, if the one that it knew is gone
        assert daemon.received()[3] == "a record was lost: the log could not be written"
        assert daemon.received()[3] == "two"
        old = daemon.socket
        with old:
            DEV_LOG.unlink()
            daemon.listen()
            log()
            assert old.recv(100).endswith(b": three")
            log()  # SIGHUP
            assert daemon.received()[1::2] == ("chat", "four")
        assert process.stdout.readline() == "4\n"  # the streams, and the list's own
        assert process.wait(60) == 0
        assert daemon.is_silent


def test_R23_without_a_log_daemon_the_server_goes_on(no_daemon: None) -> None:
    run("logger.addHandler(SyslogHandler('chat')); logger.error('nobody hears')")


@pytest.mark.root
def test_R23_a_message_that_can_not_be_made_is_not_lost(daemon: LogDaemon) -> None:
    run("logger.addHandler(SyslogHandler('chat')); logger.info('%d', 'x'); logger.info('the end')")
    assert daemon.texts() == ["'%d' (the arguments do not fit the message: ('x',): TypeError)"]


@pytest.mark.root
def test_R23_a_crash_is_told_with_one_write_to_a_descriptor_made_before(daemon: LogDaemon) -> None:
    pid = run(
        """
        from dorrit.process.log.syslog import crash_line
        descriptor, start = crash_line("chat")
        assert not os.get_inheritable(descriptor) and not os.get_blocking(descriptor)
        os.write(descriptor, start.encode() + b"crashed")
        """
    )
    # Without the date, which syslogd then adds: it must not be that of the start.
    assert daemon.datagram() == b"<%d>chat[%d]: crashed" % (FACILITY_DAEMON | 2, pid)


def test_R23_without_a_log_daemon_a_crash_has_nobody_to_tell(no_daemon: None) -> None:
    assert crash_line("chat") is None
