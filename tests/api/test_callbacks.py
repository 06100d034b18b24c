"""The callbacks of the five functions (R9 to R11), and what the server does when they raise."""

import signal
from pathlib import Path

import pytest

from tests.support.frames import BINARY, TEXT, Received, frame
from tests.support.servers import Client, Servers, request_with, until


def cookie(value: str) -> bytes:
    return request_with(b"Cookie: " + value.encode())


VERDICT = """
    def ws_open_callback(conn, cookie):
        say("open")
        return eval(cookie)

    def ws_close_callback(conn):
        say("close")
"""


@pytest.mark.parametrize("verdict", ["0", "None", "False"])
def test_R9_what_accepts(servers: Servers, verdict: str) -> None:
    run = servers.serve(VERDICT)
    client = servers.connect(cookie(verdict))
    assert client.status == 101
    assert client.ask("hello") == "hello"
    client.close()
    run.until_said("close")
    assert run.said == ["open", "close"]


@pytest.mark.parametrize("verdict", ["1", "True", "-1", "'x'", "''", "[]", "object()"])
def test_R9_anything_else_drops_and_R11_is_not_told_of_it(servers: Servers, verdict: str) -> None:
    run = servers.serve(VERDICT)
    client = servers.connect(cookie(verdict))
    assert client.status == 403
    client.socket.close()
    assert servers.connect(cookie("0")).status == 101
    assert servers.stop(run) == 0
    assert run.said == ["open", "open", "close"]


SHOW_COOKIE = """
    def ws_open_callback(conn, cookie):
        ws_write_conn(conn, False, ascii(cookie))
"""


@pytest.mark.parametrize(
    ("lines", "content"),
    [
        ([], ""),
        ([b"Cookie: session=1; theme=dark"], "session=1; theme=dark"),
        ([b"cookie:session=1"], "session=1"),
        ([b"Cookie: a=1", b"X-Other: x", b"COOKIE: b=2"], "a=1; b=2"),
        ([b"Cookie: " + b"c" * 30000], "c" * 30000),
    ],
)
def test_R9_the_cookie_is_the_content_of_the_header(
    servers: Servers, lines: list[bytes], content: str
) -> None:
    servers.serve(SHOW_COOKIE)
    client = servers.connect(request_with(*lines))
    assert client.text() == repr(content)


def test_R9_what_the_open_callback_writes_follows_the_101(servers: Servers) -> None:
    servers.serve("""
        def ws_open_callback(conn, cookie):
            ws_write_conn(conn, False, "first")
            ws_write_conn([conn], True, b"second")
            ws_write_conn(conn, False, "x" * 200_000)
    """)
    client = servers.connect()
    assert client.status == 101
    assert client.receive() == Received(TEXT, b"first")
    assert client.receive() == Received(BINARY, b"second")
    parts = [client.receive() for _ in range(4)]
    assert b"".join(part.payload for part in parts) == b"x" * 200_000


def test_R9_nothing_that_was_written_reaches_a_client_that_is_dropped(servers: Servers) -> None:
    servers.serve("""
        def ws_open_callback(conn, cookie):
            ws_write_conn(conn, False, "secret")
            return 1
    """)
    client = servers.connect()
    assert client.status == 403
    client.socket.shutdown(1)
    rest = client._rest
    while data := client.socket.recv(65536):
        rest += data
    assert b"secret" not in rest


def test_R10_a_message_arrives_once_with_its_kind_whole_and_to_keep(servers: Servers) -> None:
    run = servers.serve("""
        kept = []

        def ws_read_callback(conn, binary, data):
            kept.append((binary, data))
            if data == b"end":
                say([(type(b).__name__, b, type(d).__name__, len(d), d[:9]) for b, d in kept])
    """)
    client = servers.connect()
    client.send("grüße")
    client.send(b"\x00\xff")
    client.send("")
    client.send(b"a" * 65535)
    client.send("end")
    until(lambda: run.said, "what was kept")
    kept = [
        ("bool", False, "bytes", 7, "grüße".encode()),
        ("bool", True, "bytes", 2, b"\x00\xff"),
        ("bool", False, "bytes", 0, b""),
        ("bool", True, "bytes", 65535, b"aaaaaaaaa"),
        ("bool", False, "bytes", 3, b"end"),
    ]
    assert run.said == [repr(kept)]


def test_R10_no_message_is_longer_than_the_buffer_size_less_5(servers: Servers) -> None:
    servers.serve("", "-b", "1000")
    client = servers.connect()
    assert client.ask("a" * 995) == "a" * 995
    client.send("a" * 996)
    assert client.close_code() == 1009


def leave_with_a_close_frame(client: Client) -> None:
    client.close()


def leave_by_closing_the_socket(client: Client) -> None:
    client.socket.close()


def break_the_protocol(client: Client) -> None:
    client.socket.sendall(frame(0x3))
    assert client.close_code() == 1002


def be_closed_by_the_server(client: Client) -> None:
    client.send("close")
    assert client.close_code() == 1000
    client.socket.close()


def be_cut_off_by_the_server(client: Client) -> None:
    client.send("force")
    assert client.ended()


@pytest.mark.parametrize(
    "leave",
    [
        leave_with_a_close_frame,
        leave_by_closing_the_socket,
        break_the_protocol,
        be_closed_by_the_server,
        be_cut_off_by_the_server,
    ],
)
def test_R11_the_close_callback_runs_exactly_once_whatever_ended_the_connection(
    servers: Servers, leave: object
) -> None:
    assert callable(leave)
    run = servers.serve("""
        def ws_open_callback(conn, cookie):
            ws_set_data(conn, cookie)

        def ws_read_callback(conn, binary, data):
            ws_close_conn(conn, data == b"force")

        def ws_close_callback(conn):
            say("close", ws_get_data(conn))
            ws_close_conn(conn, True)
            ws_close_conn(conn, False)
            ws_write_conn(conn, False, "too late")
    """)
    client = servers.connect(cookie("me"))
    other = servers.connect(cookie("other"))
    leave(client)
    run.until_said("close me")
    other.send("force")
    assert other.ended()
    assert servers.stop(run) == 0
    assert run.said == ["close me", "close other"]


def test_R11_queued_data_is_freed_when_the_close_callback_returns(servers: Servers) -> None:
    run = servers.serve(
        """
        from dorrit.engine import frames_alive

        def ws_read_callback(conn, binary, data):
            ws_write_conn(conn, True, bytes(4_000_000))
            say("queued", conn.pending > 0)

        def ws_close_callback(conn):
            dorrit.ws_set_periodic(lambda: say("alive", frames_alive(), conn.pending_bytes), 0.01)
    """,
    )
    client = servers.connect()
    client.send("go")
    run.until_said("queued True")
    client.socket.close()
    run.until_said("alive 0 0")


@pytest.mark.parametrize(
    ("callback", "signature", "logged"),
    [
        ("ws_read_callback", "conn, binary, data", "the read callback raised ZeroDivisionError"),
        ("ws_close_callback", "conn", "the close callback raised ZeroDivisionError"),
    ],
)
def test_an_exception_in_a_callback_is_logged_and_the_server_goes_on(
    servers: Servers, callback: str, signature: str, logged: str
) -> None:
    run = servers.serve(f"""
        fail = True

        def {callback}({signature}):
            global fail
            if fail:
                fail = False
                1 / 0
            if {callback!r} == "ws_read_callback":
                ws_write_conn(conn, binary, data)
    """)
    bystander = servers.connect()
    client = servers.connect()
    if callback == "ws_read_callback":
        client.send("go")
        assert client.close_code() == 1011
        assert client.ended()
    else:
        client.close()
    run.until_logged("ZeroDivisionError: division by zero")
    assert logged in run.err
    assert "Traceback (most recent call last)" in run.err
    assert "in " + callback in run.err
    assert bystander.ask("still there?") == "still there?"
    assert servers.connect().ask("and for others?") == "and for others?"
    assert servers.stop(run) == 0


def test_an_exception_in_the_open_callback_is_answered_500_and_the_server_goes_on(
    servers: Servers,
) -> None:
    run = servers.serve("""
        def ws_open_callback(conn, cookie):
            if cookie:
                raise KeyError(cookie)

        def ws_close_callback(conn):
            say("close")
    """)
    assert servers.connect(cookie("who")).status == 500
    run.until_logged("KeyError: 'who'")
    assert "the open callback raised KeyError" in run.err
    assert servers.connect().ask("hello") == "hello"
    assert servers.stop(run) == 0
    assert run.said == ["close"]


def test_an_exception_in_the_periodic_function_is_logged_and_it_is_called_again(
    servers: Servers,
) -> None:
    run = servers.serve("""
        def tick():
            say("tick")
            raise LookupError("nothing")

        def ws_init_func():
            dorrit.ws_set_periodic(tick, 0.01)
    """)
    until(lambda: run.said.count("tick") >= 3, "the third tick")
    run.until_logged("LookupError: nothing")
    assert "the periodic function raised LookupError" in run.err
    assert servers.stop(run) == 0


def test_clients_cannot_fill_the_log_with_tracebacks(servers: Servers) -> None:
    run = servers.serve("""
        def ws_read_callback(conn, binary, data):
            raise ValueError("bad input")
    """)
    for _ in range(40):
        client = servers.connect()
        client.send("x")
        assert client.close_code() == 1011
        client.socket.close()
    assert servers.stop(run) == 0
    assert run.err.count("ValueError: bad input") == 10


@pytest.mark.parametrize(
    ("options", "threads"),
    [
        (["--slow-handler", 0], 1),
        ([], 2),  # the second one looks whether the first is held up
    ],
)
def test_R3_a_thousand_connections_are_served_by_one_thread(
    servers: Servers, options: list[object], threads: int
) -> None:
    run = servers.serve("", *options)
    clients = [servers.connect() for _ in range(1000)]
    assert clients[0].ask("first") == "first"
    assert clients[-1].ask("last") == "last"
    assert len(list(Path(f"/proc/{run.pid}/task").iterdir())) == threads
    run.kill()


def test_R1_the_server_listens_on_its_socket_and_nowhere_else(servers: Servers) -> None:
    run = servers.serve("")
    servers.connect()
    inodes = set()
    for descriptor in Path(f"/proc/{run.pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    # proc_pid_net(5): "Num RefCount Protocol Flags Type St Inode Path"; __SO_ACCEPTCON is 0x10000.
    table = Path(f"/proc/{run.pid}/net/unix").read_text()
    sockets = [line.split() for line in table.splitlines()]
    ours = [fields for fields in sockets if fields[6] in inodes]
    listening = {fields[7] for fields in ours if int(fields[3], 16) & 0x10000}
    # The other one is for `dorrit status`: it answers its own user and reads nothing.
    assert listening == {str(servers.path), f"{servers.path}.status"}
    # Every socket that it has is a UNIX-domain socket.
    assert {fields[6] for fields in ours} == inodes
    assert servers.stop(run, signal.SIGTERM) == 0
