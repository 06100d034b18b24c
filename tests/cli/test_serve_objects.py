"""``dorrit serve FILE:app``: a server of objects as a process, its settings and its limits."""

import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import proc
from tests.support.frames import BINARY, CLOSE, PING, REQUEST, TEXT, close_frame, frame
from tests.support.servers import Client, Run, Servers, request_with, until

BEGINNING = """\
import sys
import dorrit
from dorrit import Connection, Reject, Server

def say(*words):
    print(*words, flush=True)

"""


@pytest.fixture
def objects(servers: Servers) -> "Objects":
    return Objects(servers)


class Objects:
    """Runs servers of objects, whose file is given."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    def serve(self, source: str, *options: object, **settings: Any) -> Run:
        file = self.servers.directory / "objects.py"
        more = "import asyncio\n" if "asyncio." in source else ""
        file.write_text(BEGINNING + more + textwrap.dedent(source))
        command = self.servers.command(f"{file}:app", *options)
        return self.servers.start(*command, **settings).until_listening()

    def connect(self, *lines: bytes) -> Client:
        return self.servers.connect(request_with(*lines) if lines else REQUEST)


# What a server does not need is not there

MODULES = """
    def what_is_there():
        return " ".join(sorted({"asyncio", "uvloop", "websockets"} & set(sys.modules)))
"""


def test_a_server_without_async_functions_never_imports_asyncio(objects: Objects) -> None:
    run = objects.serve(
        MODULES
        + """
    app = Server("plain")

    @app.on_message
    def said(conn, message):
        conn.send("there: " + what_is_there())
        app.broadcast(app.connections, "and a broadcast")

    @app.every(0.01)
    def tick():
        pass

    app.on_close(lambda conn, code, reason: say("closed", what_is_there()))
    app.on_stop(lambda: say("stop", what_is_there()))
    """
    )
    client = objects.connect()
    assert client.ask("?") == "there: "
    assert client.text() == "and a broadcast"
    client.close()
    assert objects.servers.stop(run) == 0
    assert run.said == ["closed ", "stop "]


def test_nor_does_a_server_of_five_functions(servers: Servers) -> None:
    run = servers.serve(
        MODULES
        + """
    def ws_read_callback(conn, binary, data):
        ws_write_conn(conn, False, "there: " + what_is_there())

    def ws_exit_func():
        say("exit", what_is_there())
    """
    )
    assert servers.connect().ask("?") == "there: "
    assert servers.stop(run) == 0
    assert run.said == ["exit "]


NEEDLESS = {
    "asyncio", "base64", "concurrent.futures", "datetime", "decimal", "difflib", "email",
    "http.client", "http.server", "logging.handlers", "multiprocessing", "pickle", "random", "ssl",
    "tempfile", "urllib.request", "uvloop", "watchfiles", "websockets",
    "dorrit.cli.check", "dorrit.cli.dev", "dorrit.cli.reload", "dorrit.cli.restart",
    "dorrit.cli.status", "dorrit.cli.stop", "dorrit.dev", "dorrit.drive.asyncio_driver",
    "dorrit.process.running.find", "dorrit.process.running.status_client", "dorrit.testing",
}  # fmt: skip
"""Each of these would prolong each start, and each restart after a crash."""


def test_a_server_of_plain_functions_imports_nothing_that_it_does_not_need(
    servers: Servers,
) -> None:
    run = servers.serve(
        """
    def ws_read_callback(conn, binary, data):
        ws_write_conn(conn, False, " ".join(sys.modules))
    """
    )
    modules = set(servers.connect().ask("?").split())
    assert {"dorrit.cli.serve", "dorrit.drive.serving", "socket"} <= modules
    # What measures coverage is there before the server, and imports some of them.
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, check=True
    )
    assert modules & (NEEDLESS - set(bare.stdout.decode().split())) == set()
    assert servers.stop(run) == 0


def test_the_import_of_dorrit_does_not_import_asyncio() -> None:
    code = "import dorrit, sys; print(sorted({'asyncio', 'websockets'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout == b"[]\n"


@pytest.mark.parametrize(
    ("option", "loop"),
    [
        ((), "uvloop"),
        (("--event-loop", "uvloop"), "uvloop"),
        (("--event-loop=asyncio",), "asyncio"),
    ],
)
def test_a_server_with_an_async_function_runs_in_an_event_loop(
    objects: Objects, option: list[str], loop: str
) -> None:
    run = objects.serve(
        """
    app = Server()

    @app.on_message
    async def said(conn, message):
        await asyncio.sleep(0.001)
        conn.send(type(asyncio.get_running_loop()).__module__.split(".")[0])
        await conn.drain()
    """,
        *option,
    )
    client = objects.connect()
    assert [client.ask("?") for _ in range(3)] == [loop] * 3
    client.close()
    assert objects.servers.stop(run) == 0
    assert "Traceback" not in run.err


# Settings in code, and on the command line

SETTINGS = """
    class Chat(Server):
        def on_open(self, conn):
            return conn.request.client is not None

        def on_message(self, conn, message):
            settings = self._application.driver.settings
            conn.send(f"{settings.max_waiting} {settings.origin} {settings.keep_requests}")
            conn.send(conn.request.client)

    app = Chat("chat", max_waiting=3, origin="https://a.example", keep_requests=True,
               trust="X-Real-IP")
"""


def test_settings_in_code_are_defaults_that_the_command_line_overrides(objects: Objects) -> None:
    run = objects.serve(SETTINGS)
    lines = [b"Origin: https://a.example", b"X-Real-IP: 192.0.2.7", b"Forwarded: for=192.0.2.8"]
    client = objects.connect(*lines)
    assert client.ask("?") == "3 ('https://a.example',) True"
    assert client.text() == "192.0.2.7"
    assert objects.connect(b"Origin: https://b.example").status == 403
    assert objects.servers.stop(run) == 0
    options = ["--max-waiting=5", "--origin=https://b.example", "--trust=Forwarded"]
    run = objects.serve(SETTINGS, *options)
    lines[0] = b"Origin: https://b.example"
    client = objects.connect(*lines)
    assert client.ask("?") == "5 ('https://b.example',) True"
    assert client.text() == "192.0.2.8"
    assert objects.connect(b"Origin: https://a.example").status == 403
    client.close()
    assert objects.servers.stop(run) == 0


# A file that is a program

PROGRAM = """
    app = Server("program", foreground=True)
    app.on_message(lambda conn, message: conn.send(__name__))

    @app.on_open
    async def opened(conn):
        pass

    app.run()
    say("loaded")
"""


def test_a_file_that_ends_with_run_is_a_program(objects: Objects) -> None:
    servers = objects.servers
    file = servers.directory / "program.py"
    file.write_text(BEGINNING + textwrap.dedent(PROGRAM))
    user = ["-u", os.geteuid(), "-g", os.getegid()]
    run = servers.start(sys.executable, file, "-l", servers.path, *user).until_listening()
    assert servers.connect().ask("?") == "__main__"
    assert servers.stop(run) == 0
    assert run.said == []
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    assert servers.connect().ask("?") == "program"
    assert servers.stop(run) == 0
    assert run.said == ["loaded"]  # there it did nothing


def test_the_only_server_of_a_file_needs_no_name(objects: Objects) -> None:
    servers = objects.servers
    file = servers.directory / "only.py"
    echo = "@app.on_message\ndef echo(conn, message): conn.send(message)\n"
    for names in ("app =", "app = the_same ="):
        file.write_text(f"import dorrit\n{names} dorrit.Server('only')\n{echo}")
        for server in (file, "only"):
            run = servers.start(*servers.command(server)).until_listening()
            assert servers.connect().ask("hello") == "hello"
            assert servers.stop(run) == 0


def test_five_functions_go_before_a_server_in_the_same_file(servers: Servers) -> None:
    run = servers.serve("app = dorrit.Server()")  # it would not answer
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0


def test_the_help_of_such_a_program_has_its_own_defaults(objects: Objects) -> None:
    file = objects.servers.directory / "program.py"
    file.write_text(BEGINNING + "Server(max_waiting=77).run()\n")
    run = objects.servers.run(sys.executable, file, "--help")
    assert run.process.returncode == 0
    assert "(default: 77)" in run.out
    assert run.out.startswith("usage: program.py ")
    run = objects.servers.run(sys.executable, file, "--max-waiting=0")
    assert run.process.returncode == 2
    assert run.err.startswith("program.py: argument --max-waiting: 0 is out of range")


# Who may connect

ECHO = """
    app = Server("echo", keep_requests=True)

    @app.on_message
    def said(conn, message):
        conn.send(str(conn.request.client))
"""


@pytest.mark.parametrize(
    ("header", "lines", "client"),
    [
        ("X-Forwarded-For", [b"X-Forwarded-For: 203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        ("X-Forwarded-For", [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 192.0.2.2"],
         "192.0.2.2"),
        ("x-forwarded-for", [b"X-Real-IP: 192.0.2.1"], "None"),
        ("Forwarded", [b'Forwarded: for=203.0.113.9, for="[2001:db8::1]:80";proto=https'],
         "2001:db8::1"),
        ("forwarded", [b"Forwarded: for=unknown"], "None"),
        ("X-Real-IP", [b"X-Real-IP: 192.0.2.1"], "192.0.2.1"),
        ("X-Real-IP", [b"X-Real-IP: 192.0.2.1", b"X-Real-IP: 192.0.2.2"], "None"),
        ("X-Real-IP", [b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=192.0.2.1"], "None"),
        (None, [b"X-Forwarded-For: 192.0.2.1", b"X-Real-IP: 192.0.2.1"], "None"),
    ],
)  # fmt: skip
def test_the_clients_address_is_that_of_the_header_that_is_trusted(
    objects: Objects, header: str | None, lines: list[bytes], client: str
) -> None:
    run = objects.serve(ECHO, *([] if header is None else ["--trust", header]))
    assert objects.connect(*lines).ask("?") == client
    assert objects.servers.stop(run) == 0


@pytest.mark.parametrize(
    ("options", "accepted", "refused"),
    [
        (["https://a.example"], [b"https://a.example", b"HTTPS://A.example:443"],
         [b"http://a.example", b"https://a.example:8443", b"https://a.example.org", b"null", None]),
        (["same"], [b"http://server.example.com", b"https://server.example.com"],
         [b"http://a.example", None]),
        (["https://*.example"], [b"https://a.example", b"https://a.b.example"],
         [b"https://example", b"https://a.example.org"]),
        (["none", "null"], [None, b"null"], [b"https://a.example"]),
        (["https://a.example", "https://b.example"],
         [b"https://a.example", b"https://b.example"], [b"https://c.example"]),
        ([], [None, b"null", b"https://a.example"], []),
    ],
)  # fmt: skip
def test_other_origins_are_refused_with_403(
    objects: Objects, options: list[str], accepted: list[Any], refused: list[Any]
) -> None:
    run = objects.serve(ECHO, *[f"--origin={origin}" for origin in options])

    def status(origin: bytes | None) -> int:
        return objects.connect(*([] if origin is None else [b"Origin: " + origin])).status

    assert [status(origin) for origin in accepted] == [101] * len(accepted)
    assert [status(origin) for origin in refused] == [403] * len(refused)
    assert objects.servers.stop(run) == 0


CONNECT = """\
import os, socket, sys
if sys.argv[3:]:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
try:
    client.sendall(bytes.fromhex(sys.argv[2]))
except BrokenPipeError:
    pass
print(client.recv(1 << 16).decode().splitlines()[0])
"""


def status_of(path: Path, *user: int) -> str:
    """What a client gets that is a process of another user, if one is given."""
    command = [sys.executable, "-c", CONNECT, str(path), REQUEST.hex(), *map(str, user)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return str(result.stdout.split()[1])


def test_other_users_than_those_allowed_are_refused_with_403(objects: Objects) -> None:
    me, nobody = os.geteuid(), pwd.getpwnam("nobody")
    cases: list[tuple[list[Any], str]] = [
        ([me], "101"),
        ([pwd.getpwuid(me).pw_name], "101"),
        ([nobody.pw_name], "403"),
        ([nobody.pw_uid, me], "101"),
    ]
    for allowed, i_am in cases:
        run = objects.serve(ECHO, *[f"--allow-peer={user}" for user in allowed])
        objects.servers.path.chmod(0o777)
        assert status_of(objects.servers.path) == i_am
        if me == 0:  # only root can be somebody else
            is_allowed = {nobody.pw_name, nobody.pw_uid} & set(allowed)
            expected = "101" if is_allowed else "403"
            assert status_of(objects.servers.path, nobody.pw_uid) == expected
        assert objects.servers.stop(run) == 0


def test_a_peer_is_who_has_connected(objects: Objects) -> None:
    run = objects.serve("""
    app = Server()
    app.on_message(lambda conn, message: conn.send(str(tuple(conn.peer))))
    """)
    expected = str((os.getpid(), os.geteuid(), os.getegid()))
    assert objects.connect().ask("?") == expected
    assert objects.servers.stop(run) == 0


def test_a_rejection_is_the_answer(objects: Objects) -> None:
    run = objects.serve("""
    app = Server()

    @app.on_open
    async def opened(conn):
        raise Reject(429, [("Retry-After", "5"), ("X", "1"), ("X", "2")], b"too many of you")
    """)
    client = objects.connect()
    head = client.head.decode().split("\r\n")
    assert head[0] == "HTTP/1.1 429 Too Many Requests"
    assert [line for line in head if line.startswith(("Retry", "X"))] == [
        "Retry-After: 5",
        "X: 1",
        "X: 2",
    ]
    assert client._rest == b"too many of you"
    assert client.socket.recv(1) == b""
    assert objects.servers.stop(run) == 0


# Clients that are slow, or silent

# Bytes of a frame with 1,000 of payload.
FRAME = 1004

FILL = """
    app = Server()

    @app.on_message
    def said(conn, message):
        size = int(message)
        count = 0
        while conn.send(bytes(size)):
            count += 1
        say(count, conn.pending, conn.pending_bytes, conn.dropped, conn.is_open)

    app.on_close(lambda conn, code, reason: say(code, reason))
"""


def test_a_message_that_has_no_room_is_refused_and_the_client_stays(objects: Objects) -> None:
    run = objects.serve(FILL)
    client = objects.connect()
    client.send("1000")
    until(lambda: run.said)
    # What the kernel takes goes out at once; 200 frames are those that it does not take any more.
    count, *rest = run.said[0].split()
    assert int(count) > 200
    assert (rest[0], *rest[2:]) == ("200", "1", "True")
    assert 199 * FRAME < int(rest[1]) <= 200 * FRAME
    for _ in range(int(count)):
        assert client.receive().opcode == BINARY
    client.close()
    until(lambda: len(run.said) == 2)
    assert run.said[1] == "1000 "
    assert objects.servers.stop(run) == 0


def test_a_limit_of_bytes_beside_that_of_frames(objects: Objects) -> None:
    run = objects.serve(FILL, "--max-pending-bytes", 10_000)
    client = objects.connect()
    client.send("1000")
    until(lambda: run.said)
    count, pending, pending_bytes, *rest = run.said[0].split()
    assert rest == ["1", "True"]
    assert int(pending) in (9, 10)
    assert 10_000 - FRAME < int(pending_bytes) <= 10_000
    assert sum(len(client.receive().payload) for _ in range(int(count))) == int(count) * 1000
    client.close()
    assert objects.servers.stop(run) == 0


def test_slow_clients_may_be_closed_with_1008_instead(objects: Objects) -> None:
    run = objects.serve(FILL, "--slow-clients=close", "--max-pending-bytes", 10_000)
    client = objects.connect()
    client.send("1000")
    assert client.close_code() == 1008
    client.socket.sendall(close_frame(1008))
    assert client.ended()
    until(lambda: len(run.said) == 2)
    assert run.said[0].endswith("1 False")
    assert run.said[1] == "1008 the client does not read"
    assert "does not read" in run.err
    assert objects.servers.stop(run) == 0


SILENT = """
    app = Server()

    @app.on_message
    async def said(conn, message):
        conn.send(message)

    app.on_close(lambda conn, code, reason: say(code, reason))
"""


def test_a_client_that_answers_no_ping_is_closed(objects: Objects) -> None:
    run = objects.serve(SILENT, "--ping-interval=0.25", "--ping-timeout=0.25")
    client = objects.connect()
    assert client.receive().opcode == PING
    assert client.close_code() == 3008
    until(lambda: run.said)
    assert run.said == ["3008 nothing came after a ping"]
    assert objects.servers.stop(run) == 0


def test_a_client_that_answers_pings_stays_but_not_when_it_says_nothing(objects: Objects) -> None:
    run = objects.serve(SILENT, "--ping-interval=0.25", "--ping-timeout=60", "--idle-timeout=1.5")
    begun = time.monotonic()
    client = objects.connect()
    pings = 0
    while (received := client.receive()).opcode == PING:
        client.socket.sendall(frame(0xA, received.payload))
        pings += 1
    assert received.opcode == CLOSE
    assert received.code == 3008
    assert time.monotonic() - begun >= 1.5
    assert pings >= 2
    until(lambda: run.said)
    assert run.said == ["3008 no message was exchanged for too long"]
    assert objects.servers.stop(run) == 0


# Memory

SIZE = 100_000_000
PAYLOAD = 50_000


def test_a_client_that_sends_100_MB_at_a_handler_that_sleeps_costs_little_and_loses_nothing(
    objects: Objects,
) -> None:
    run = objects.serve(
        """
    app = Server()
    released = asyncio.Event()
    got = []

    @app.on_message
    async def said(conn, message):
        if message == "release":
            released.set()
        elif message == "report":
            say("report", len(got), got == list(range(len(got))))
        else:
            await released.wait()
            got.append(int(message[:8]))
            assert len(message) == 50_000
    """,
        "--event-loop=asyncio",
    )
    other, client = objects.connect(), objects.connect()
    before = peak_of(run.pid)
    # The masking key is 0, which costs the test nothing.
    head = struct.pack("!BBH4x", 0x80 | BINARY, 0x80 | 126, PAYLOAD)
    rest = bytes(PAYLOAD - 8)
    stream = memoryview(b"".join(head + b"%08d" % n + rest for n in range(SIZE // PAYLOAD)))
    client.socket.setblocking(False)
    sent = stuck = 0
    # The server has had as many turns as it has answered pings of another client.
    while sent < len(stream) and stuck < 500:
        try:
            sent += client.socket.send(stream[sent : sent + (1 << 20)])
            stuck = 0
        except BlockingIOError:
            stuck += 1
            other.socket.sendall(frame(PING, b"are you there?"))
            assert other.receive().payload == b"are you there?"
    assert sent < 8_000_000  # it was not read on
    assert peak_of(run.pid) - before < 8_000_000
    other.send("release")
    client.socket.setblocking(True)
    client.socket.sendall(stream[sent:])
    client.socket.sendall(frame(TEXT, b"report"))
    run.until_said(f"report {SIZE // PAYLOAD} True")
    assert peak_of(run.pid) - before < 12_000_000
    client.close()
    assert objects.servers.stop(run) == 0


def peak_of(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    return int(proc.status(pid)["VmHWM"][0]) * 1024


# The end


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize("event", ["message", "open", "close"])
@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_a_handler_that_exits_ends_the_server_in_order(
    objects: Objects, kind: str, event: str, event_loop: str
) -> None:
    run = objects.serve(
        f"""
    app = Server()

    @app.on_{event}
    {kind}def exits(*arguments):
        sys.exit(7)

    @app.on_stop
    async def stop():
        say("stop")
    """,
        f"--event-loop={event_loop}",
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(objects.servers.path))
        client.sendall(REQUEST + frame(TEXT, b"x") + close_frame(1000))
        assert run.wait() == 7
    assert run.said == ["stop"]
    assert not objects.servers.path.exists()
    assert "never retrieved" not in run.err


def test_R27_handlers_finish_when_it_is_told_to_stop(objects: Objects) -> None:
    run = objects.serve(
        """
    app = Server(stop_grace=20)

    @app.on_message
    async def said(conn, message):
        say("begun")
        await asyncio.sleep(0.2)
        conn.send("done")
        say("ended")

    @app.on_close
    async def left(conn, code, reason):
        await asyncio.sleep(0.05)
        say("closed", code)

    app.on_stop(lambda: say("stop"))
    """
    )
    client = objects.connect()
    client.send("x")
    run.until_said("begun")
    run.process.send_signal(signal.SIGTERM)
    assert client.text() == "done"
    assert client.close_code() == 1001
    client.socket.sendall(close_frame(1001))
    assert run.wait() == 0
    assert run.said == ["begun", "ended", "closed 1001", "stop"]


def test_a_stop_handler_that_raises_is_an_exit_status(objects: Objects) -> None:
    run = objects.serve("""
    app = Server()
    app.on_stop(lambda: 1 / 0)
    """)
    assert objects.servers.stop(run) == 1
    assert "the stop handler raised" in run.err


def test_a_start_handler_that_raises_is_said_in_one_line(servers: Servers) -> None:
    file = servers.directory / "objects.py"
    file.write_text(BEGINNING + "app = Server()\napp.on_start(lambda: 1 / 0)\n")
    run = servers.run(*servers.command(f"{file}:app"))
    assert run.process.returncode == 1
    assert run.err.splitlines()[-1] == "dorrit: on_start raised ZeroDivisionError: division by zero"
    assert not servers.path.exists()
