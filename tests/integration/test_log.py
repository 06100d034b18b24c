"""What a server logs, in the foreground, as a daemon and after a crash: dorrit's own records and
those of the server's code (R23, O1)."""

import contextlib
import json
import os
import re
import signal
import socket
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemons
from tests.support.frames import REQUEST, TEXT, frame
from tests.support.log_daemon import DEV_LOG, LogDaemon, log_daemon, no_log_daemon
from tests.support.servers import TIMEOUT, Client, Run, Servers, until


@pytest.fixture
def log() -> Iterator[LogDaemon]:
    with log_daemon() as made:
        yield made


RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
"""What the first line of a record begins with; the others begin with a bar."""

# What the server's code, or a library that it uses, may do to logging.

DONE = {
    "dictConfig": 'import logging.config; logging.config.dictConfig({"version": 1})',
    "dictConfig of the root": """
        import logging.config
        logging.config.dictConfig({
            "version": 1, "handlers": {"null": {"class": "logging.NullHandler"}},
            "root": {"level": "CRITICAL", "handlers": ["null"]}})
    """,
    "dictConfig that names dorrit": """
        import logging.config
        logging.config.dictConfig({"version": 1, "loggers": {"dorrit": {"handlers": []}}})
    """,
    "fileConfig": r"""
        import io, logging.config
        logging.config.fileConfig(io.StringIO(
            "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
            "[logger_root]\nhandlers=\nlevel=CRITICAL\n"))
    """,
    "disable": "import logging; logging.disable(logging.CRITICAL)",
    "the root's level": "import logging; logging.getLogger().setLevel(logging.CRITICAL + 1)",
    "no level": 'import logging; logging.getLogger("dorrit").setLevel(logging.NOTSET)',
    "basicConfig": """
        import logging
        logging.basicConfig(force=True, level=60, filename="/dev/null")
    """,
    "no handlers": 'import logging; logging.getLogger("dorrit").handlers.clear()',
    "disabled": 'import logging; logging.getLogger("dorrit").disabled = True',
    "shutdown": "import logging; logging.shutdown()",
    "propagate": 'import logging; logging.getLogger("dorrit").propagate = True',
    "a class of loggers": """
        import logging
        class Mute(logging.Logger):
            def handle(self, record): pass
        logging.setLoggerClass(Mute)
    """,
    "a factory that raises": """
        import logging
        def broken(*arguments, **named): raise RuntimeError("a factory")
        logging.setLogRecordFactory(broken)
    """,
    "a handler that raises": """
        import logging
        class Broken(logging.Handler):
            def handle(self, record): raise RuntimeError("a handler")
        logging.getLogger("dorrit").addHandler(Broken())
    """,
    "a filter that raises": """
        import logging
        def broken(record): raise RuntimeError("a filter")
        logging.getLogger("dorrit").addFilter(broken)
    """,
    "no last resort": "import logging; logging.lastResort = None",
    "stderr": "import sys; sys.stderr = None",
}

RAISES = """
    def ws_read_callback(conn, binary, data):
        raise ValueError("for the log")
"""


@pytest.mark.parametrize("done", DONE.values(), ids=DONE)
def test_whatever_is_done_to_logging_dorrits_own_records_are_written_once(
    servers: Servers, done: str
) -> None:
    run = servers.serve(textwrap.dedent(RAISES) + textwrap.dedent(done))
    client = servers.connect()
    client.send("go")
    assert client.close_code() == 1011
    assert servers.stop(run) == 0
    assert run.err.count("the read callback raised ValueError") == 1
    assert run.err.count("Traceback (most recent call last)") == 1 + run.err.count(
        " raised Runtime"
    )
    assert run.err.count("ValueError: for the log") == 1
    assert "a fault in dorrit" not in run.err


# What the server's code says.

SAYS = """
    import asyncio, logging, sys, threading, warnings
    from dorrit import Server

    app = Server({name!r})
    mine = logging.getLogger("myapp")

    class Ends:
        def __del__(self): raise ValueError("unraisable")

    def fail(): raise ValueError("in a thread")

    async def fails(): raise ValueError("in a task")

    @app.on_message
    async def said(conn, message):
        if message == "crash":
            import ctypes
            ctypes.string_at(0)
        mine.info("for information")
        mine.error("an error of %s", message)
        logging.warning("of the root")
        warnings.warn("of a module")
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
        Ends()
        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        print("printed", flush=True)
        print("to stderr", file=sys.stderr)
        conn.send(message)
"""

TOLD = [
    "myapp: for information",
    "myapp: an error of hello",
    "root: of the root",
    "UserWarning: of a module",
    "an exception has ended the thread worker: ValueError",
    "| ValueError: in a thread",
    "Ends.__del__",
    "| ValueError: unraisable",
    "asyncio: Task exception was never retrieved",
    "| ValueError: in a task",
]
"""What the log has of it, in the foreground as well."""

PRINTED = ["stdout: printed", "stderr: to stderr"]


def write_app(directory: Path, name: str) -> Path:
    file = directory / f"{name}.py"
    file.write_text(textwrap.dedent(SAYS.format(name=name)))
    file.chmod(0o644)
    return file


def test_O1_what_the_servers_code_says_is_in_the_log_in_the_foreground(
    servers: Servers, directory: Path
) -> None:
    file = write_app(directory, "app")
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    for text in TOLD:
        assert run.err.count(text) == 1, text
    assert run.said == ["printed"]
    lines = run.err.splitlines()
    lines.remove("to stderr")
    assert all(RECORD.match(line) or line.startswith("| ") for line in lines), run.err
    assert [line.split()[2] for line in lines if "for information" in line] == ["INFO"]


def test_O1_the_log_level_is_that_of_the_servers_code_too(
    servers: Servers, directory: Path
) -> None:
    file = write_app(directory, "app")
    run = servers.start(*servers.command(f"{file}:app", "--log-level", "error"))
    until(servers.is_listening, "the server's start")
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    assert "myapp: an error of hello" in run.err
    assert "for information" not in run.err
    assert "of the root" not in run.err


@pytest.mark.root
def test_O1_what_the_servers_code_says_is_in_a_daemons_log_and_after_a_crash(
    either: Daemons, log: LogDaemon, directory: Path
) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    file = write_app(directory, daemon.name)
    words = daemon.command("-u", "root", "-g", "root")
    words[words.index(str(daemon.file))] = f"{file}:app"
    daemon.start(command=words)
    log.until_said("listening on")
    for _ in range(2):
        # The kernel keeps ten messages for who does not read them meanwhile.
        asking = threading.Thread(target=daemon.ask, args=["hello"])
        asking.start()
        text = "\n".join(log.until_said("stderr: to stderr"))
        asking.join()
        for expected in TOLD + PRINTED:
            assert text.count(expected) == 1, (expected, text)
        client = daemon.connect()
        client.send("crash")
        log.until_said("listening on")
        assert client.close_code() == 1011
        client.socket.close()
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "configured",
    [
        "logging.basicConfig(filename=FILE, level=logging.DEBUG)",
        "logging.basicConfig(filename=FILE, level=logging.DEBUG, force=True)",
        "logging.getLogger().addHandler(logging.FileHandler(FILE))",
    ],
)
@pytest.mark.parametrize("where", ["at once", "in ws_init_func"])
def test_O1_who_configures_logging_has_it_his_way_and_dorrits_records_stay_in_its_log(
    servers: Servers, directory: Path, configured: str, where: str
) -> None:
    file = directory / "own.log"
    at_once = configured if where == "at once" else "pass"
    in_init = configured if where != "at once" else "pass"
    run = servers.serve(f"""
        import logging
        FILE = {os.fspath(file)!r}
        {at_once}
        def ws_init_func():
            {in_init}
        def ws_read_callback(conn, binary, data):
            logging.getLogger("myapp").error("mine")
            ws_write_conn(conn, binary, data)
    """)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    assert file.read_text().count("mine") == 1
    assert "mine" not in run.err
    assert run.err.count("listening on") == 1
    assert "listening on" not in file.read_text()


def test_O1_a_basic_configuration_by_accident_is_none(servers: Servers) -> None:
    run = servers.serve("""
        import logging
        logging.warning("this calls basicConfig")
        def ws_read_callback(conn, binary, data):
            logging.getLogger("myapp").info("mine")
            ws_write_conn(conn, binary, data)
    """)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    assert len([line for line in run.log if RECORD.match(line) and "INFO myapp: mine" in line]) == 1


# What clients say.

FORGING = """
    import logging
    def ws_read_callback(conn, binary, data):
        text = data.decode("utf-8", "surrogatepass")
        if text.startswith("log"):
            logging.getLogger("myapp").error(text)
            ws_write_conn(conn, binary, b"done")
        else:
            raise ValueError(text)
"""

FORGED = (
    "x\n2026-11-28 21:30:00,000 CRITICAL forged\r\x1b[2J\x1b]0;title\x07\x00\x7f\x85\x9b31m"
    "\u202e\u2028\u2066\ud800 caf\u00e9"
)


def test_R23_a_clients_text_forges_no_line_and_reaches_no_terminal(servers: Servers) -> None:
    run = servers.serve(FORGING)
    client = servers.connect()
    data = FORGED.encode("utf-8", "surrogatepass")
    client.send(b"log" + data)
    assert client.receive().payload == b"done"
    client.send(data)
    assert client.close_code() == 1011
    assert servers.stop(run) == 0
    assert run.err.count("forged") == 2
    assert run.err.count("café") == 2
    assert r"\x1b[2J\x1b]0;title\x07\x00\x7f\x85\x9b31m\u202e\u2028\u2066\ud800" in run.err
    assert run.err.replace("\n", "").isprintable()
    for line in run.err.splitlines():
        assert RECORD.match(line) or line.startswith("| ")
        assert not (RECORD.match(line) and "forged" in line)


def test_O2_a_record_about_a_client_says_which(servers: Servers) -> None:
    options = ["--trust", "X-Forwarded-For", "--access-log", "--log-format", "json"]
    run = start_in_foreground(servers, "", *options)
    request = REQUEST.replace(b"GET /chat ", b"GET /chat?token=secret ", 1)
    request = request[:-2] + b"X-Forwarded-For: 10.0.0.1, 203.0.113.5\r\n\r\n"
    first = servers.connect(request)
    first.socket.sendall(frame(TEXT, b"\xff"))
    assert first.close_code() == 1007
    second = servers.connect()
    second.close()
    assert servers.stop(run) == 0
    records = [json.loads(line) for line in run.err.splitlines()]
    assert "secret" not in run.err
    number = next(record["client"] for record in records if "not UTF-8" in record["message"])
    of_first = [record for record in records if record.get("client") == number]
    assert [record["level"] for record in of_first] == ["WARNING", "INFO"]
    for record in of_first:
        assert (record["address"], record["path"]) == ("203.0.113.5", "/chat")
    assert f"(client {number}, 203.0.113.5, /chat)" in of_first[0]["message"]
    assert of_first[1]["code"] == 1007
    assert 0 <= of_first[1]["seconds"] < TIMEOUT
    (of_second,) = [record for record in records if record.get("client") == number + 1]
    assert of_second["code"] == 1000
    assert "address" not in of_second


# Readers of the log who have stopped.


def bad_requests(path: Path, count: int = 8) -> None:
    for _ in range(count):
        client = Client(path, REQUEST.replace(b"GET", b"POST", 1))
        assert client.status == 405
        client.socket.close()


@pytest.mark.root
def test_a_log_daemon_that_hangs_keeps_nobody_waiting_and_what_is_lost_is_counted(
    either: Daemons, log: LogDaemon
) -> None:
    daemon = either()
    log.identities = (daemon.name,)
    daemon.start("-u", "root", "-g", "root")
    log.until_said("listening on")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(os.fspath(DEV_LOG))
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"from somebody else" * 100)
        bad_requests(daemon.path)
        assert daemon.ask("hello") == "hello"
    log.drain()
    bad_requests(daemon.path, 1)  # its records of this kind may have been enough
    daemon.kill(signal.SIGHUP)
    told = log.until_said("records were lost")[-1]
    assert int(told.split()[0]) >= 8
    assert daemon.stop() == 0


def test_a_terminal_that_takes_nothing_keeps_nobody_waiting(
    servers: Servers,
) -> None:
    file = servers.write("")
    reader, writer = os.pipe()
    run = servers.start(*servers.command(file), stderr=writer)
    until(servers.is_listening, "the server's start")
    assert os.get_blocking(writer)  # others have it, too
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    bad_requests(servers.path)
    assert servers.connect().ask("hello") == "hello"
    data = os.read(reader, 1 << 20)
    assert data
    assert servers.stop(run) == 0
    os.close(writer)
    while more := os.read(reader, 1 << 20):
        data += more
    os.close(reader)
    text = data.decode().replace("x" * 100, "")
    assert "records were lost" in text
    assert text.endswith("stopping\n")


# A file.


def start_in_foreground(servers: Servers, source: str, *options: object) -> Run:
    run = servers.start(*servers.command(servers.write(source), *options))
    until(servers.is_listening, "the server's start")
    return run


@pytest.mark.root
def test_O1_the_log_may_be_a_file_which_a_crash_and_sighup_leave_in_use(
    either: Daemons, directory: Path
) -> None:
    logs = directory / "logs"
    logs.mkdir(0o755)
    file = logs / "chat.log"
    daemon = either("""
        import ctypes, logging
        def ws_read_callback(conn, binary, data):
            if data == b"crash":
                ctypes.string_at(0)
            logging.getLogger("myapp").info("said %s", data)
            ws_write_conn(conn, binary, data)
    """)
    with no_log_daemon():
        started = daemon.start("--log", file, "-u", "root", "-g", "root")
    assert "no syslog" not in started.stderr
    assert file.stat().st_mode & 0o7777 == 0o640
    assert daemon.ask("one") == "one"
    client = daemon.connect()
    client.send("crash")
    assert client.close_code() == 1011
    client.socket.close()
    assert daemon.ask("two") == "two"
    renamed = file.rename(logs / "chat.log.1")
    daemon.kill(signal.SIGHUP)
    until(
        lambda: file.exists() and file.read_text().count("opened anew") == len(daemon.processes),
        "the new file",
    )
    assert daemon.ask("three") == "three"
    assert daemon.stop() == 0
    text = renamed.read_text()
    for expected in (
        "listening on",
        "said b'one'",
        "crashed: SIGSEGV",
        "Fatal Python",
        "said b'two'",
    ):
        assert expected in text, text
    assert text.count("crashed: SIGSEGV") == 1
    assert "said b'three'" in file.read_text()
    assert file.read_text().endswith(" INFO stopping\n")


@pytest.mark.root
def test_O1_root_makes_the_file_for_the_servers_user(either: Daemons, directory: Path) -> None:
    logs = Path("/run") / directory.name
    logs.mkdir(0o755)
    file = logs / "chat.log"
    try:
        daemon = either()
        daemon.start("--log", file)
        status = file.stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (65534, 0o640)
        assert daemon.stop() == 0
        assert "stopping" in file.read_text()
    finally:
        file.unlink()
        logs.rmdir()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to("/etc/passwd"), "it is a symbolic link"),
        (os.mkfifo, "it is a pipe that nobody reads, or a socket"),
    ],
    ids=["a directory", "a symbolic link", "a pipe"],
)
def test_O1_a_file_that_cannot_be_the_log_is_an_error_in_one_line(
    servers: Servers, directory: Path, make: object, why: str
) -> None:
    path = directory / "the.log"
    assert callable(make)
    make(path)
    run = servers.run(*servers.command(servers.write(""), "--log", path))
    assert run.wait() == 1
    assert run.err.splitlines() == [f"dorrit: the log {path} can't be opened: {why}"]


def test_O1_a_full_disk_does_not_stop_the_server(servers: Servers) -> None:
    run = start_in_foreground(servers, "", "--log", "/dev/full")
    bad_requests(servers.path)
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0


def test_O1_a_pipe_that_nobody_empties_may_be_the_log(servers: Servers, directory: Path) -> None:
    path = directory / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x")
        run = start_in_foreground(servers, "", "--log", path)
        bad_requests(servers.path)
        assert servers.connect().ask("hello") == "hello"
        assert servers.stop(run) == 0
        os.close(writer)
    finally:
        os.close(reader)


@pytest.mark.root
def test_O1_without_a_syslog_the_command_says_so(either: Daemons) -> None:
    daemon = either()
    with no_log_daemon():
        started = daemon.start("-u", "root", "-g", "root")
        assert (
            "WARNING no syslog here (/dev/log): records are lost until there is one; "
            "--log FILE keeps them" in started.stderr
        )
        assert daemon.stop() == 0


def test_O1_json_is_one_object_for_each_record(servers: Servers) -> None:
    run = start_in_foreground(servers, FORGING, "--log-format", "json")
    client = servers.connect()
    client.send(b"log" + FORGED.encode("utf-8", "surrogatepass"))
    assert client.receive().payload == b"done"
    client.send(FORGED.encode("utf-8", "surrogatepass"))
    assert client.close_code() == 1011
    assert servers.stop(run) == 0
    records = [json.loads(line) for line in run.err.splitlines()]
    assert run.err.replace("\n", "").isprintable()
    assert run.err.isascii()
    mine = next(record for record in records if record["logger"] == "myapp")
    assert (mine["level"], mine["message"]) == ("ERROR", "log" + FORGED)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", mine["time"])
    raised = next(record for record in records if "raised" in record["message"])
    assert raised["logger"] == "dorrit"
    assert raised["exception"].endswith(f"ValueError: {FORGED}")
