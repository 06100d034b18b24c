"""R2, R5, R23: what clients cause in the log is bounded and can be printed."""

import logging
import re

import pytest

from dorrit.api.functions import CALLBACK_NAMES
from dorrit.engine import queue_message
from dorrit.engine.callback_names import HANDLERS, CallbackNames
from dorrit.engine.connection import client_of
from dorrit.engine.reports import BURST, PERIOD, Reports
from dorrit.protocol.refusal import HANDSHAKE_DEADLINE, HEAD_TOO_LARGE, refusal
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.harness import Harness, LogRecords
from tests.support.narrow import NarrowHarness, stuffed


class Clock:
    """Tells the time that the test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refuse(harness: Harness, request: bytes) -> None:
    client = harness.connect()
    client.send(request)
    harness.until(lambda: client.ended, client)
    client.close()
    harness.turn()


def withheld(text: str) -> int:
    """How many records a record says were not logged."""
    found = re.search(r"\((\d+) more like this were not logged\)$", text)
    return int(found[1]) if found else 0


def test_a_flood_of_refusals_is_10_records_in_10_seconds(log: LogRecords) -> None:
    assert (BURST, PERIOD) == (10, 10.0)
    clock = Clock()
    with Harness(reports=Reports(clock)) as harness:
        for _ in range(200):
            clock.now += PERIOD / 250
            refuse(harness, b"POST / HTTP/1.1\r\n\r\n")
        assert len(log.records) == 10
        assert [withheld(record.getMessage()) for record in log.records] == [0] * 10
        clock.now += PERIOD
        refuse(harness, b"POST / HTTP/1.1\r\n\r\n")
        refuse(harness, b"POST / HTTP/1.1\r\n\r\n")
        texts = [record.getMessage() for record in log.records[10:]]
        assert [withheld(text) for text in texts] == [190, 0]
        assert all("405" in text for text in texts)


def test_a_flood_of_drops_is_10_records_in_10_seconds(log: LogRecords) -> None:
    clock = Clock()
    with Harness(reports=Reports(clock)) as harness:
        for _ in range(50):
            refuse(harness, REQUEST + frame(TEXT, b"\xff"))
        assert len(harness.closed) == 50
        assert len(log.records) == 10
        clock.now += PERIOD
        refuse(harness, REQUEST + frame(TEXT, b"\xff"))
        assert withheld(log.records[-1].getMessage()) == 40


def test_one_kind_of_record_does_not_use_up_the_allowance_of_another(log: LogRecords) -> None:
    reports = Reports(Clock())
    for _ in range(100):
        reports.refused(refusal(*HANDSHAKE_DEADLINE))
    reports.refused(refusal(*HEAD_TOO_LARGE))
    for _ in range(100):
        reports.dropped(1002, "a frame is not masked")
    reports.dropped(1009, "a message is too large")
    assert [record.getMessage()[:30].split(":")[0] for record in log.records] == [
        *["handshake refused, 408"] * 10,
        "handshake refused, 431",
        *["client dropped, 1002"] * 10,
        "client dropped, 1009",
    ]


@pytest.mark.parametrize("passed", [0.0, PERIOD / 2, PERIOD - 0.001])
def test_an_allowance_is_not_renewed_before_its_time(log: LogRecords, passed: float) -> None:
    clock = Clock()
    reports = Reports(clock)
    for _ in range(BURST):
        reports.accept_failed(12)
    clock.now += passed
    reports.accept_failed(12)
    assert len(log.records) == BURST
    clock.now += PERIOD - passed
    reports.accept_failed(12)
    assert len(log.records) == BURST + 1
    assert withheld(log.records[-1].getMessage()) == 1


def test_a_client_that_does_not_read_is_reported_by_a_name_that_can_be_printed(
    log: LogRecords,
) -> None:
    with NarrowHarness() as harness:
        _, (conn,) = stuffed(harness, 1)
        for _ in range(1000):
            queue_message(conn, True, b"x")
    assert len(log.records) == 1
    assert re.fullmatch(r"[ -~]{20,300}", log.records[0].getMessage())


def told(log: LogRecords) -> tuple[int, str]:
    """Level and text of the one record."""
    (record,) = log.records
    assert withheld(record.getMessage()) == 0
    return record.levelno, record.getMessage()


def test_R20_a_message_that_fits_no_queue_is_a_warning_with_its_size(log: LogRecords) -> None:
    Reports(Clock()).never_fits(123456)
    level, text = told(log)
    assert level == logging.WARNING
    assert "123456 bytes" in text


def test_a_forked_process_that_comes_back_is_an_error_that_names_the_callback(
    log: LogRecords,
) -> None:
    Reports(Clock()).came_back("message")
    level, text = told(log)
    assert level == logging.ERROR
    assert "message handler has forked a process" in text


def test_R20_a_slow_client_that_is_closed_is_a_warning_that_names_it(
    harness: Harness, log: LogRecords
) -> None:
    harness.open()
    (conn,) = harness.engine.open_connections()
    Reports(Clock()).slow_client_closed(conn)
    level, text = told(log)
    assert level == logging.WARNING
    assert "(client 1, /chat)" in text
    assert "1008" in text


def test_O2_all_records_about_a_client_have_its_number_and_its_path_without_query(
    log: LogRecords,
) -> None:
    with Harness(reports=Reports(Clock(), access_log=True)) as harness:
        for _ in range(2):
            refuse(harness, b"POST / HTTP/1.1\r\n\r\n")
        request = REQUEST.replace(b"GET /chat ", b"GET /room\x25\x27?token=secret ")
        refuse(harness, request + frame(TEXT, b"\xff"))
    about = [vars(record)["about"] for record in log.records]
    assert [each["client"] for each in about] == [1, 1, 2, 2, 3, 3]
    assert about[0] == {"client": 1, "status": 405}
    assert about[4] == {"client": 3, "path": "/room%\\x27"}
    assert about[5].pop("seconds") >= 0
    assert about[5] == {"client": 3, "path": "/room%\\x27", "code": 1007}
    texts = [record.getMessage() for record in log.records]
    assert texts[0] == "client 1: refused, 405"
    assert texts[1].endswith(" (client 1)")
    assert texts[4].endswith(": a text is not UTF-8 (client 3, /room%\\x27)")
    assert texts[5].startswith("client 3, /room%\\x27: closed, 1007, after ")
    assert "secret" not in log.text


def test_O2_a_log_of_who_came_and_went_leaves_nobody_out(log: LogRecords) -> None:
    with Harness(reports=Reports(Clock(), access_log=True)) as harness:
        for _ in range(BURST + 5):
            refuse(harness, b"POST / HTTP/1.1\r\n\r\n")
    assert sum("refused, 405" in record.getMessage() for record in log.records) == 2 * BURST + 5


def test_O2_a_path_is_shared_by_those_who_ask_for_it_one_after_another(harness: Harness) -> None:
    for target in (b"/a?1", b"/a?2", b"/b"):
        harness.connect().send(REQUEST.replace(b"GET /chat ", b"GET " + target + b" "))
        harness.turn()
    labels = [client_of(conn)["path"] for conn in harness.engine.open_connections()]
    assert labels == ["/a", "/a", "/b"]
    assert labels[0] is labels[1]


def test_O2_a_connection_is_shown_by_its_number_and_not_by_its_place_in_memory(
    harness: Harness,
) -> None:
    harness.open()
    (conn,) = harness.engine.open_connections()
    assert conn.number == 1
    assert repr(conn) == "<dorrit connection 1, open>"


def test_a_client_that_was_silent_is_no_warning(log: LogRecords) -> None:
    Reports(Clock()).timed_out("nothing came after a ping")
    assert told(log) == (logging.INFO, "client closed, 3008: nothing came after a ping")


def test_what_a_callback_raised_is_logged_with_its_traceback_and_bounded_for_each_kind(
    log: LogRecords,
) -> None:
    reports = Reports(Clock())
    for error in (ValueError("first"), KeyError("second")):
        for _ in range(BURST + 1):
            reports.callback_raised("message", error)
    assert len(log.records) == 2 * BURST
    assert {record.levelno for record in log.records} == {logging.ERROR}
    assert log.records[0].getMessage() == "the message handler raised ValueError"
    assert "ValueError: first" in log.text
    assert "KeyError: 'second'" in log.text


def test_R32_without_descriptors_the_log_says_what_to_raise_or_lower(log: LogRecords) -> None:
    Reports(Clock()).out_of_descriptors()
    level, text = told(log)
    assert level == logging.ERROR
    assert "ulimit -n" in text
    assert "--max-connections" in text


def test_a_descriptor_that_somebody_else_has_closed_is_an_error_that_says_which(
    log: LogRecords,
) -> None:
    Reports(Clock()).descriptor_lost(7, "the listening socket")
    level, text = told(log)
    assert level == logging.ERROR
    assert text.startswith("descriptor 7, the listening socket, was closed by something else")


@pytest.mark.parametrize("result", [True, 1, None])
def test_O6_what_is_awaited_in_vain_is_logged_with_what_to_leave_out(
    log: LogRecords, result: object
) -> None:
    async def awaits() -> None:
        await result  # type: ignore[misc]

    with pytest.raises(TypeError) as raised:
        awaits().send(None)
    Reports(Clock()).callback_raised("message", raised.value)
    assert "leave out await" in log.text


def test_O6_another_mistake_of_types_gets_no_advice(log: LogRecords) -> None:
    Reports(Clock()).callback_raised("message", TypeError("an int is required"))
    assert "TypeError: an int is required" in log.text
    assert "leave out await" not in log.text


def test_a_client_that_is_closed_for_the_whole_budget_is_a_warning_with_the_setting(
    log: LogRecords,
) -> None:
    Reports(Clock()).out_of_budget(123_456)
    level, text = told(log)
    assert level == logging.WARNING
    assert "--max-buffered" in text
    assert "(123456 bytes)" in text


def test_a_fault_of_the_engine_is_critical_but_memory_that_ran_out_is_none(
    log: LogRecords,
) -> None:
    reports = Reports(Clock())
    reports.engine_failed(MemoryError())
    reports.engine_failed(AssertionError("the state"))
    short, fault = log.records
    assert (short.levelno, short.exc_info) == (logging.ERROR, None)
    assert fault.levelno == logging.CRITICAL
    assert "AssertionError: the state" in log.text


NASTY = b"\x1b[31m\x1b]0;owned\x07\x00\x08\x7f\x9b2J\x85\xe2\x80\xa8\xc3\xa9\xff\"'\\%s{}\t"

HEADS = {
    "method": NASTY + b" / HTTP/1.1\r\n",
    "a long method": b"M" * 30000 + b" / HTTP/1.1\r\n",
    "target": b"GET /" + NASTY + b" HTTP/1.1\r\n",
    "a long target": b"GET /" + b"t" * 60000 + b" HTTP/1.1\r\n",
    "version": b"GET / HTTP/1." + NASTY + b"\r\n",
    "line ends in the target": b"GET /\rWARNING forged\nWARNING forged HTTP/1.1\r\n",
    "nothing but escapes": NASTY * 1000 + b"\r\n",
}
FIELDS = [b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"]
VALUES = {"escapes": NASTY, "quotes": b"13, \"'\\%s{}\xff\xc3\xa9", "length": b'"' * 30000}


def with_value(name: bytes, value: bytes) -> bytes:
    """The request with another value of a field."""
    start, rest = REQUEST.split(name + b": ", 1)
    return start + name + b": " + value + rest[rest.index(b"\r\n") :]


HEADS |= {
    f"{name.decode()} of {kind}": with_value(name, value)
    for name in FIELDS
    for kind, value in VALUES.items()
}
HEADS["the name of a field"] = REQUEST[:-2] + NASTY + b": x\r\n"


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_R2_what_a_client_sends_is_escaped_in_the_log(
    harness: Harness, log: LogRecords, head: bytes
) -> None:
    refuse(harness, head.removesuffix(b"\r\n\r\n") + b"\r\n\r\n")
    assert len(log.records) == 1
    assert log.records[0].levelno == logging.WARNING
    text = log.records[0].getMessage()
    assert re.fullmatch(r"[ -~]{20,400}", text)
    assert "\nWARNING" not in text
    assert harness.opened == []


def test_R2_a_query_with_secrets_in_it_is_not_logged(harness: Harness, log: LogRecords) -> None:
    for start in (b"POST /?", b"GET /# ", b"\x01GET /?", b"GET /?\x01"):
        refuse(harness, start + b"token=secret HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(log.records) == 4
    assert "secret" not in log.text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (HANDLERS, ["the message handler", "the close handler", "the open handler", "a handler"]),
        (
            CALLBACK_NAMES,
            ["the read callback", "the close callback", "the open callback", "a callback"],
        ),
    ],
)
def test_functions_are_called_as_their_documentation_does(
    names: CallbackNames, said: list[str]
) -> None:
    assert [names.title(name) for name in (names.kind, "close", "open", "")] == said
    assert names.title("signal") == "the signal handler"
    assert names.title("periodic") == "the periodic function"
