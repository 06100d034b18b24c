"""The logger ``dorrit``.

What the server's code does to logging is in tests/integration/test_log.py.
"""

import logging
from collections.abc import Iterator

import pytest

from dorrit.logger import OwnLogger, logger
from tests.support.children import run_python
from tests.support.frames import TEXT, frame
from tests.support.harness import Harness, LogRecords
from tests.support.raising import Panic
from tests.support.servers import ADDRESS


@pytest.fixture
def written() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    before = logger.level, logger.propagate, logger.handlers[:]
    logger.sink = records.append
    logger.sink_level = logging.INFO
    logger._silent_until = 0.0
    logger.setLevel(logging.NOTSET)
    logger.propagate = False
    yield records
    logger.sink = None
    logger.setLevel(before[0])
    logger.propagate = before[1]
    logger.handlers[:] = before[2]
    logger.disabled = False


def test_it_is_the_one_that_logging_has() -> None:
    assert logging.getLogger("dorrit") is logger
    assert isinstance(logger, OwnLogger)


def test_one_that_was_there_before_becomes_it() -> None:
    told = run_python("""
        import subprocess
        print(subprocess.run([sys.executable, "-c", '''if True:
            import logging
            mine = logging.getLogger("dorrit")
            mine.setLevel(5)
            from dorrit.logger import logger
            print(mine is logger, type(mine).__name__, mine.level)
        '''], capture_output=True, text=True, check=True).stdout)
    """)
    assert told.strip() == "True OwnLogger 5"


def test_without_a_log_it_is_a_logger_like_others(caplog: pytest.LogCaptureFixture) -> None:
    logger.disabled = True
    logger.error("not here")
    logger.disabled = False
    logger.error("here")
    assert caplog.messages == ["here"]


def test_its_own_level_and_filters_count(written: list[logging.LogRecord]) -> None:
    logger.debug("below the log's level")
    logger.info("a")
    logger.setLevel(logging.ERROR)
    logger.info("below its own")

    def refuse(record: logging.LogRecord) -> bool:
        return record.getMessage() != "filtered"

    logger.addFilter(refuse)
    try:
        logger.error("filtered")
        logger.error("b")
    finally:
        logger.removeFilter(refuse)
    assert [record.getMessage() for record in written] == ["a", "b"]


def test_its_handlers_get_the_records_besides(written: list[logging.LogRecord]) -> None:
    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mine.append(record.getMessage())

    mine: list[str] = []
    logger.handlers[:] = [Own()]
    logger.error("a")
    assert mine == ["a"] == [record.getMessage() for record in written]


def test_a_handler_that_raises_is_told_once_in_a_while(written: list[logging.LogRecord]) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError(record.getMessage())

    logger.handlers[:] = [Broken()]
    for _ in range(5):
        logger.error("a")
    texts = [record.getMessage() for record in written]
    assert texts.count("a") == 5
    assert texts[1] == "a handler of the logger dorrit raised RuntimeError"
    assert len(texts) == 6


def test_a_factory_that_raises_costs_no_record(written: list[logging.LogRecord]) -> None:
    def broken(*_: object, **__: object) -> logging.LogRecord:
        raise RuntimeError

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(broken)
    try:
        logger.error("a %s", "b", extra={"about": 1}, stack_info=True)
    finally:
        logging.setLogRecordFactory(before)
    (record,) = written
    assert record.getMessage() == "a b"
    assert record.stack_info
    assert vars(record)["about"] == 1


# Handlers and filters that raise, where dorrit keeps no log of its own


def test_a_handler_of_logging_that_raises_is_the_users_and_no_fault_of_dorrit(
    harness: Harness, log: LogRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Panic("the log is full")

    monkeypatch.setattr(logger, "_silent_until", 0.0)
    breaks = Breaks()
    logger.handlers.insert(0, breaks)
    try:
        harness.message_callback = lambda *_: 1 / 0
        client = harness.open()
        client.send(frame(TEXT, b"x"))
        harness.until(lambda: client.ended)
        assert client.frames[0].code == 1011
    finally:
        logger.removeHandler(breaks)
    assert "a fault in dorrit" not in log.text
    assert "a handler or a filter of the logger dorrit raised Panic" in log.text
    assert "in emit" in log.text


@pytest.mark.parametrize("error", [LookupError, Panic, SystemExit])
def test_so_is_a_filter(harness: Harness, log: LogRecords, error: type[BaseException]) -> None:
    def filters(record: logging.LogRecord) -> bool:
        raise error

    logger.addFilter(filters)
    try:
        harness.message_callback = lambda *_: 1 / 0
        client = harness.open()
        client.send(frame(TEXT, b"x"))
        if error is SystemExit:
            with pytest.raises(SystemExit):
                harness.engine.run()
        harness.until(lambda: client.ended)
        assert client.frames[0].code == 1011
    finally:
        logger.removeFilter(filters)
    assert "a fault in dorrit" not in log.text


def test_that_the_log_breaks_is_said_now_and_then_only(log: LogRecords) -> None:
    def filters(record: logging.LogRecord) -> bool:
        raise LookupError

    logger.addFilter(filters)
    try:
        logger._silent_until = 0.0
        for _ in range(100):
            logger.warning("lost")
    finally:
        logger.removeFilter(filters)
        logger._silent_until = 0.0
    assert len(log.records) == 1


def test_an_address_in_memory_is_found_and_a_random_name_is_none() -> None:
    for line in (repr(object()), "at 0x7f1c0d", "(0x7f1c0d40)", "id=0x7f1c0d40", "'0x7f1c0d'"):
        assert ADDRESS.search(line), line
    for line in (
        "listening on /tmp/dorrit-0x1684ba/socket",
        "/tmp/dorrit-a0x1684b",
        "/tmp/_0x12345a",
    ):
        assert not ADDRESS.search(line), line
