"""What a program says other than by logging (O1)."""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from dorrit.logger import logger
from dorrit.process.log.capture import LINE_MAX, Hooks, Printed
from tests.support.harness import LogRecords


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    made = Hooks()
    yield made
    made.close()


# No fixture: pytest has streams of its own for each phase of a test.
@contextlib.contextmanager
def printed() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    made = Printed(records.append)
    yield records
    made.close()


def texts(records: list[logging.LogRecord]) -> list[tuple[str, int, str]]:
    return [(record.name, record.levelno, record.getMessage()) for record in records]


def test_each_printed_line_is_a_record() -> None:
    with printed() as records:
        print("one", 1)
        print("begun", end="")
        sys.stderr.write("to stderr\n")
        print(", ended\n\nlast")
        assert texts(records) == [
            ("stdout", 20, "one 1"),
            ("stderr", 30, "to stderr"),
            ("stdout", 20, "begun, ended"),
            ("stdout", 20, ""),
            ("stdout", 20, "last"),
        ]


def test_streams_are_what_programs_take_them_for() -> None:
    with printed() as records:
        sys.stdout.buffer.write(b"bytes \xff\n")
        sys.stdout.writelines(["a\n", "b\n"])
        sys.stdout.flush()
        assert [text for _, _, text in texts(records)] == ["bytes \\xff", "a", "b"]
        assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
        assert not sys.stdout.isatty()
        assert sys.stdout.encoding == "utf-8"
        print("\ud800")
        assert texts(records)[-1][2] == "\\ud800"


def test_threads_do_not_end_each_others_lines() -> None:
    with printed() as records:
        print("of one ", end="")
        other = threading.Thread(target=print, args=["of another"])
        other.start()
        other.join()
        print("thread")
        assert [text for _, _, text in texts(records)] == ["of another", "of one thread"]


def test_a_line_without_end_is_cut() -> None:
    with printed() as records:
        sys.stdout.write("x" * (2 * LINE_MAX + 1))
        assert [len(text) for _, _, text in texts(records)] == [LINE_MAX, LINE_MAX]


def test_what_was_begun_is_written_at_the_end() -> None:
    records: list[logging.LogRecord] = []
    before = sys.stdout, sys.stderr
    made = Printed(records.append)
    print("begun", end="")
    made.close()
    assert texts(records) == [("stdout", 20, "begun")]
    assert (sys.stdout, sys.stderr) == before


def test_handlers_that_write_to_the_old_streams_follow() -> None:
    records: list[logging.LogRecord] = []
    handler = logging.StreamHandler(sys.stderr)
    mine = logging.getLogger("tests.capture")
    mine.propagate = False
    mine.addHandler(handler)
    made = Printed(records.append)
    try:
        mine.error("text")
    finally:
        made.close()
        mine.removeHandler(handler)
    assert texts(records) == [("stderr", 30, "text")]


def test_warnings_are_records_but_not_those_for_a_file(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    warnings.showwarning(UserWarning("here"), UserWarning, "file.py", 7)
    assert [record.name for record in caplog.records] == ["py.warnings"]
    assert caplog.messages[0].startswith("file.py:7: UserWarning: here")
    with (
        Path(os.devnull).open("w", encoding="utf-8") as file,
        pytest.warns(UserWarning, match="there"),
    ):
        warnings.showwarning(UserWarning("there"), UserWarning, "file.py", 7, file)
    assert len(caplog.records) == 1


def test_an_exception_that_ends_a_thread_is_a_record(hooks: Hooks, log: LogRecords) -> None:
    def fail() -> None:
        raise ValueError("in a thread")

    def leave() -> None:
        sys.exit(1)

    for target in (leave, fail):
        thread = threading.Thread(target=target, name="worker")
        thread.start()
        thread.join()
    assert [record.getMessage() for record in log.records] == [
        "an exception has ended the thread worker: ValueError"
    ]
    assert "ValueError: in a thread" in log.text


class Ends:
    def __del__(self) -> None:
        raise ValueError("at the end")


class Unprintable(Ends):
    def __repr__(self) -> str:
        raise ValueError("no")


def test_an_exception_that_cannot_be_raised_is_a_record_without_addresses(
    hooks: Hooks, log: LogRecords
) -> None:
    Ends()
    Unprintable()
    assert log.text.count("ValueError: at the end") == 2
    assert "0x" not in log.records[0].getMessage()


def test_what_the_server_puts_in_its_place_stays() -> None:
    made = Hooks()
    before = threading.excepthook

    def own(arguments: object) -> None: ...

    threading.excepthook = own
    made.close()
    assert threading.excepthook is own
    threading.excepthook = before
    Hooks().close()
    threading.excepthook = threading.__excepthook__
    assert logger.name == "dorrit"
