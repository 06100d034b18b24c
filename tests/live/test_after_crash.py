"""What becomes of each connection when a real server crashes, one case after the other."""

import hashlib
import os
import random
import socket
import textwrap

import pytest

from dorrit.process.control.status import Status
from dorrit.process.files.paths import status_path
from dorrit.process.running.status_client import ask
from tests.live.server import AT_ONCE, reload
from tests.support.deflating import ZlibClient, deflated_frame, offering
from tests.support.frames import CLOSE, REQUEST, TEXT, frame
from tests.support.servers import TIMEOUT, Run, Servers, until

SERVER = """
import ctypes, hashlib, os, threading, time
from dorrit import Server

app = Server("crashing", rfc=True, deflate=True)

def crash(*_):
    ctypes.string_at(0)

def crash_when_told():
    while not os.path.exists("now"):
        time.sleep(0.01)
    crash()

def count(conn):
    conn.data += 1
    conn.save(str(conn.data).encode())

@app.on_open
def joined(conn):
    conn.data = 0

@app.on_resume
def back(conn, state):
    conn.data = int(state or b"0")

@app.on_close
def left(conn, code, reason):
    print("left", conn.number, code, conn.data, conn.saved, flush=True)
"""

PLAIN = """
@app.on_message
def said(conn, message):
    if message == "crash":
        crash()
    elif message == "crash in thread":
        threading.Thread(target=crash_when_told).start()
    elif message == "to all, and crash":
        app.broadcast(app.connections, "to all")
        crash()
    elif message == "close all, and crash":
        for other in app.connections:
            if other is not conn:
                other.close(4000, "all")
        crash()
    elif message == "much":
        for number in range(150):
            conn.send(f"{number}" * 1000)
    elif message == "wait":
        open("waiting", "w").close()
        while not os.path.exists("go on"):
            time.sleep(0.01)
    elif message == "answer, and tell all":
        conn.send("answer")
        app.broadcast(app.connections, "to all")
        conn.send("answer again")
    elif message == "much, and crash":
        for number in range(800):
            conn.send(f"{number}" * 1000)
        crash()
    elif message == "goodbye":
        conn.close(4001, "bye")
    elif len(message) > 100_000:
        conn.send(hashlib.sha256(message.encode()).hexdigest())
    else:
        count(conn)
        conn.send(f"{message} {conn.data}")
"""


ASYNC_GOODBYE = """
@app.on_message
async def said(conn, message):
    if message == "goodbye":
        conn.close(4001, "bye")
    else:
        count(conn)
        conn.send(f"{message} {conn.data}")
"""


def start(servers: Servers, source: str, *options: object, **variables: str) -> Run:
    """Run a server that serves again at once, however often it has crashed."""
    path = servers.directory / "app.py"
    path.write_text(textwrap.dedent(source))
    searched = os.pathsep.join(filter(None, [AT_ONCE, os.environ.get("PYTHONPATH")]))
    command = servers.command(f"{path}:app", *options)
    environment = os.environ | {"PYTHONPATH": searched} | variables
    return servers.start(*command, env=environment).until_listening()


def crash(servers: Servers, message: str = "crash") -> None:
    """Have a client of its own crash the server; it is told that the server has an error."""
    before = servers.runs[0].err.count("crashed: ")
    culprit = servers.connect()
    culprit.send(message)
    assert culprit.close_code() == 1011
    assert servers.runs[0].err.count("crashed: ") > before, "the handler has raised, and no more"


def test_L3_all_go_on_but_the_one_whose_callback_ran(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    for time_ in range(2, 5):
        crash(servers)
        assert [client.ask("more") for client in clients] == [f"more {time_}"] * 3
    left = [f"left {number} 1011 None b''" for number in (4, 5, 6)]
    until(lambda: run.said == left, "the close callback of each culprit, once")
    assert run.err.count("connections go on after the crash") == 3
    assert servers.stop(run) == 0


def test_L3_what_was_sent_to_others_before_the_crash_is_sent_once(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    clients = [servers.connect() for _ in range(5)]
    crash(servers, "to all, and crash")
    for client in clients:
        assert client.text() == "to all"
        assert client.ask("next") == "next 1"
    assert servers.stop(run) == 0


def test_L3_what_was_answered_before_the_crash_in_the_same_turn_is_sent_once_and_in_order(
    servers: Servers,
) -> None:
    run = start(servers, SERVER + PLAIN)
    asking, telling, hearing, waiting, culprit = (servers.connect() for _ in range(5))
    waiting.send("wait")
    until((servers.directory / "waiting").exists)
    # All that comes meanwhile is handled in one turn.
    asking.send("one")
    telling.send("answer, and tell all")
    culprit.send("crash")
    asking.send("two")
    (servers.directory / "go on").touch()
    assert culprit.text() == "to all"
    assert culprit.close_code() == 1011
    assert [asking.text() for _ in range(3)] == ["one 1", "two 2", "to all"]
    assert [telling.text() for _ in range(3)] == ["answer", "to all", "answer again"]
    for client in (hearing, waiting):
        assert client.text() == "to all"
    clients = (asking, telling, hearing, waiting)
    assert [client.ask("next") for client in clients] == ["next 3", *["next 1"] * 3]
    assert servers.stop(run) == 0


@pytest.mark.parametrize("when", ["with its request", "later"])
def test_L3_what_a_client_has_been_sent_before_its_handler_crashed_is_followed_by_whole_frames(
    servers: Servers, when: str
) -> None:
    run = start(servers, SERVER + PLAIN)
    client = servers.connect()
    message = frame(TEXT, b"much, and crash")
    # Its queue is full before the handler is over, and written as far as the kernel takes it.
    if when == "later":
        culprit = servers.connect()
        culprit.socket.sendall(message)
    else:
        culprit = servers.connect(REQUEST + message)
    assert culprit.status == 101
    last = -1
    while (received := culprit.receive()).opcode == TEXT:
        last += 1
        assert received.payload == b"%d" % last * 1000
    assert (received.opcode, received.code) == (CLOSE, 1011)
    assert last > 100
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_L8_who_was_closed_by_the_callback_that_crashed_goes_on(servers: Servers) -> None:
    # Unlike what is sent, that is not written down before the callback has returned.
    run = start(servers, SERVER + PLAIN)
    client = servers.connect()
    crash(servers, "close all, and crash")
    assert client.ask("next") == "next 1"
    assert servers.stop(run) == 0


def test_L3_a_crash_of_nobodys_callback_closes_nobody(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    client, other = servers.connect(), servers.connect()
    assert client.ask("one") == "one 1"
    other.send("crash in thread")
    assert other.ask("one") == "one 1"  # the handler has returned
    (servers.directory / "now").touch()
    run.until_logged("2 connections go on after the crash")
    assert [client.ask("two"), other.ask("two")] == ["two 2", "two 2"]
    assert servers.stop(run) == 0


def test_L3_nor_does_one_of_a_timer(servers: Servers) -> None:
    timer = """
    crashes = not os.path.exists("crashed")

    @app.every(0.2)
    def due():
        if crashes and len(app.connections) == 2:
            open("crashed", "w").close()
            crash()
    """
    run = start(servers, SERVER + PLAIN + textwrap.dedent(timer))
    clients = [servers.connect() for _ in range(2)]
    run.until_logged("2 connections go on after the crash")
    assert [client.ask("one") for client in clients] == ["one 1"] * 2
    assert servers.stop(run) == 0


def test_L3_who_crashes_the_open_callback_is_refused(servers: Servers) -> None:
    source = SERVER.replace(
        "conn.data = 0", "conn.data = 0\n    conn.request.path == '/bad' and crash()"
    )
    run = start(servers, source + PLAIN)
    client = servers.connect()
    assert servers.connect(REQUEST.replace(b"/chat", b"/bad")).status == 500
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_L3_who_crashes_the_resume_callback_is_closed(servers: Servers) -> None:
    source = SERVER.replace('state or b"0")', 'state or b"0")\n    conn.data == 2 and crash()')
    run = start(servers, source + PLAIN)
    client, bad, other = (servers.connect() for _ in range(3))
    assert [bad.ask("one"), bad.ask("two"), client.ask("one")] == ["one 1", "two 2", "one 1"]
    crash(servers)
    assert bad.close_code() == 1011
    assert [client.ask("two"), other.ask("one")] == ["two 2", "one 1"]
    run.until_said("left 2 1011 None b'2'")
    assert servers.stop(run) == 0


@pytest.mark.parametrize("handler", ["plain", "async", "beside an async one"])
def test_L6_a_close_handler_that_crashes_is_not_called_again(
    servers: Servers, handler: str
) -> None:
    source = SERVER.replace("flush=True)", "flush=True)\n    code == 4001 and crash()")
    if handler == "async":
        source = source.replace("def left(", "async def left(")
    said = ASYNC_GOODBYE if handler == "beside an async one" else PLAIN
    run = start(servers, source + said)
    client, other = servers.connect(), servers.connect()
    other.send("goodbye")
    assert other.close_code() == 4001
    other.socket.sendall(frame(8, (4001).to_bytes(2, "big")))
    run.until_logged("go on after the crash")
    assert client.ask("one") == "one 1"
    assert servers.stop(run) == 0
    assert run.said.count("left 2 4001 0 b''") == 1


def test_L5_what_waits_for_a_slow_reader_comes_once_and_in_order(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    slow, client = servers.connect(), servers.connect()
    slow.send("much")
    assert client.ask("one") == "one 1"
    for _ in range(3):
        crash(servers)
        assert slow.text()
    assert [slow.text() for _ in range(147)] == [f"{number}" * 1000 for number in range(3, 150)]
    assert slow.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_L5_a_message_of_which_a_part_has_come_is_gone_on_with(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    whole = frame(TEXT, b"x" * 300)
    clients = [servers.connect() for _ in range(5)]
    cuts = (1, 3, 7, 20, len(whole) - 1)
    for client, cut in zip(clients, cuts, strict=True):
        client.socket.sendall(whole[:cut])
    assert servers.connect().ask("one") == "one 1"  # they have been read by now
    crash(servers)
    for client, cut in zip(clients, cuts, strict=True):
        client.socket.sendall(whole[cut:])
        assert client.text() == "x" * 300 + " 1"
    fragmented = servers.connect()
    fragmented.socket.sendall(frame(TEXT, b"one ", fin=False) + frame(0, b"two ", fin=False))
    assert servers.connect().ask("one") == "one 1"
    crash(servers)
    fragmented.socket.sendall(frame(0, b"three"))
    assert fragmented.text() == "one two three 1"
    assert servers.stop(run) == 0


def test_L5_a_handshake_of_which_a_part_has_come_is_gone_on_with(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    first, second = REQUEST[:40], REQUEST[40:]
    with socket.socket(socket.AF_UNIX) as newcomer:
        newcomer.connect(os.fspath(servers.path))
        newcomer.sendall(first)
        assert servers.connect().ask("one") == "one 1"
        crash(servers)
        newcomer.settimeout(30)
        newcomer.sendall(second)
        assert newcomer.recv(12) == b"HTTP/1.1 101"
    assert servers.stop(run) == 0


def test_L5_who_compresses_goes_on(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN)
    client = servers.connect(offering("permessage-deflate; client_no_context_takeover"))
    zlib = ZlibClient()
    for number in range(1, 4):
        client.socket.sendall(deflated_frame(TEXT, b"y" * 500))
        received = client.receive()
        assert zlib.inflate(received.payload) == b"y" * 500 + f" {number}".encode()
        crash(servers)
    assert servers.stop(run) == 0


@pytest.mark.parametrize("compressed", [False, True])
def test_L5_a_large_message_of_which_a_part_has_come_is_gone_on_with(
    servers: Servers, compressed: bool
) -> None:
    run = start(servers, SERVER + PLAIN, "--max-message", 1 << 20)
    client = servers.connect(offering("permessage-deflate") if compressed else REQUEST)
    text = random.Random(7).randbytes(200_000).hex()
    digest = hashlib.sha256(text.encode()).hexdigest()
    whole = deflated_frame(TEXT, text.encode()) if compressed else frame(TEXT, text.encode())
    pieces = [whole[begin : begin + 150_001] for begin in range(0, len(whole), 150_001)]
    assert len(pieces) > 1
    for _ in range(2):
        for piece in pieces[:-1]:
            client.socket.sendall(piece)
            heard(servers)
            crash(servers)
        client.socket.sendall(pieces[-1])
        assert client.text() == digest
    assert servers.stop(run) == 0


def heard(servers: Servers) -> None:
    """Wait until all that clients have sent so far has been read."""
    other = servers.connect()
    for number in range(1, 21):
        assert other.ask("one") == f"one {number}"
    other.socket.close()


# What the administrator hears of it


def test_L3_status_says_how_many_restarts_of_each_kind_there_were_and_what_the_last_has_cost(
    servers: Servers,
) -> None:
    run = start(servers, SERVER + PLAIN)
    clients = [servers.connect() for _ in range(3)]

    def status() -> Status:
        told, process = ask(status_path(str(servers.path)), TIMEOUT)
        process.close()
        return told

    def restarts(now: Status) -> tuple[object, ...]:
        return now.restarts, now.reloads, now.last_restart, now.carried, now.lost

    first = status()
    assert restarts(first) == (0, 0, "", 0, 0)
    crash(servers)
    now = status()
    assert restarts(now) == (1, 0, "crash", 3, 0)
    assert 0 < now.carried_in < TIMEOUT
    clients.pop().socket.close()
    until(lambda: status().connections == 2)
    for number in (1, 2):
        reload(run)
        assert restarts(status()) == (1, number, "reload", 2, 0)
    crash(servers)
    now = status()
    assert restarts(now) == (2, 2, "crash", 2, 0)
    assert (now.started, now.unrecorded) == (first.started, 0)
    assert [client.ask("one") for client in clients] == ["one 1"] * 2
    assert servers.stop(run) == 0


def test_L3_the_service_manager_hears_what_the_last_restart_was(servers: Servers) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(TIMEOUT)
        address = os.fspath(servers.directory / "manager")
        manager.bind(address)

        def status() -> str:
            while not (told := manager.recv(4096)).startswith(b"READY=1\n"):
                pass
            return told.decode().partition("\nSTATUS=")[2]

        run = start(servers, SERVER + PLAIN, NOTIFY_SOCKET=address)
        listening = f"listening on {servers.path}"
        assert status() == listening
        _client = servers.connect()
        crash(servers)
        restarted = f"{listening}; restarted after a crash, with 1 connection in "
        assert status().startswith(restarted)
        reload(run)
        assert status().startswith(f"{listening}; restarted by a reload, with ")
        assert servers.stop(run) == 0


# `async` handlers

ASYNC = """
import asyncio

async def crash_soon():
    await asyncio.sleep(0.01)
    crash()

@app.on_message
async def said(conn, message):
    if message == "crash":
        crash()
    if message == "wait":
        await asyncio.sleep(3600)
    if message == "wait, then crash":
        await crash_soon()
    if message == "have a task crash":
        conn.data = asyncio.create_task(crash_soon())
        return
    count(conn)
    conn.send(f"{message} {conn.data}")
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_L7_messages_that_wait_are_handled_afterwards_once(servers: Servers, loop: str) -> None:
    source = SERVER.replace(
        "def back(conn, state):", "def back(conn, state, begun):\n    conn.send(f'begun {begun}')"
    )
    run = start(servers, source + ASYNC, "--event-loop", loop)
    busy, idle = servers.connect(), servers.connect()
    busy.send("wait")
    busy.socket.sendall(b"".join(frame(TEXT, b"%d" % number) for number in range(9)))
    assert idle.ask("one") == "one 1"
    crash(servers)
    assert busy.text() == "begun wait"
    assert [busy.text() for _ in range(9)] == [f"{number} {number + 1}" for number in range(9)]
    assert idle.text() == "begun None"
    assert idle.ask("two") == "two 2"
    assert servers.stop(run) == 0


def test_L7_who_waits_for_a_handler_that_nobody_goes_on_with_is_closed(servers: Servers) -> None:
    run = start(servers, SERVER + ASYNC)
    busy, idle = servers.connect(), servers.connect()
    busy.send("wait")
    assert idle.ask("one") == "one 1"
    crash(servers)
    assert busy.close_code() == 1012
    assert idle.ask("two") == "two 2"
    assert servers.stop(run) == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_L3_a_handler_that_crashes_after_it_has_waited_costs_its_connection(
    servers: Servers, loop: str
) -> None:
    source = SERVER.replace(
        "def back(conn, state):", "def back(conn, state, begun):\n    conn.send(f'begun {begun}')"
    )
    run = start(servers, source + ASYNC, "--event-loop", loop)
    busy, idle = servers.connect(), servers.connect()
    busy.send("wait")
    assert idle.ask("one") == "one 1"
    crash(servers, "wait, then crash")
    # Nobody is told of the message that has crashed the server: it would do so again.
    assert [busy.text(), idle.text()] == ["begun wait", "begun None"]
    assert idle.ask("two") == "two 2"
    assert servers.stop(run) == 0
    assert run.err.count("crashed: ") == 1


def test_L3_a_crash_of_a_task_that_a_handler_has_begun_closes_nobody(servers: Servers) -> None:
    run = start(servers, SERVER + ASYNC)
    client, other = servers.connect(), servers.connect()
    other.send("have a task crash")
    run.until_logged("2 connections go on after the crash")
    assert [client.ask("one"), other.ask("one")] == ["one 1", "one 1"]
    assert servers.stop(run) == 0


@pytest.mark.parametrize("handler", ["open", "resume"])
def test_L3_so_does_an_open_or_resume_handler_that_crashes_after_it_has_waited(
    servers: Servers, handler: str
) -> None:
    crashes = "await asyncio.sleep(0.01)\n    conn.request.path == '/bad' and crash()"
    source = "import asyncio\n" + SERVER
    if handler == "open":
        source = source.replace("def joined(conn):", f"async def joined(conn):\n    {crashes}")
    else:
        source = source.replace("def back(", "async def back(").replace(
            "    conn.data = int(", f"    {crashes}\n    conn.data = int("
        )
    run = start(servers, source + ASYNC)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    bad = servers.connect(REQUEST.replace(b"/chat", b"/bad"))
    if handler == "open":
        assert bad.status == 500
    else:
        crash(servers)
        assert bad.close_code() == 1011
    assert client.ask("two") == "two 2"
    assert servers.stop(run) == 0
    assert run.err.count("crashed: ") == (1 if handler == "open" else 2)


def test_L6_an_async_close_handler_that_had_no_time_is_called_afterwards(servers: Servers) -> None:
    source = SERVER.replace("def left(", "async def left(") + ASYNC.replace(
        "await asyncio.sleep(3600)", "await asyncio.sleep(0.5)"
    )
    run = start(servers, source)
    busy, idle = servers.connect(), servers.connect()
    busy.socket.sendall(frame(TEXT, b"wait") + frame(8, (4002).to_bytes(2, "big")))
    assert idle.ask("one") == "one 1"
    crash(servers)
    run.until_said("left 1 4002 None b''")
    assert servers.stop(run) == 0
    assert [line.startswith("left 1 ") for line in run.said].count(True) == 1


# The start after a crash


def test_L3_a_crash_while_the_server_starts_again_costs_nobody(servers: Servers) -> None:
    begin = """
    @app.on_start
    def start():
        with open("starts", "a+") as starts:
            starts.write(".")
            starts.seek(0)
            len(starts.read()) in (2, 3) and crash()
    """
    run = start(servers, SERVER + PLAIN + textwrap.dedent(begin))
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    crash(servers)
    assert [client.ask("two") for client in clients] == ["two 2"] * 3
    assert run.err.count("crashed: SIGSEGV") == 3
    assert servers.stop(run) == 0


@pytest.mark.parametrize(
    ("how", "code", "status"),
    [("raise OSError('the database is away')", 1012, 1), ("sys.exit(3)", 1001, 3)],
)
def test_a_server_that_does_not_start_again_tells_its_clients_to_go(
    servers: Servers, how: str, code: int, status: int
) -> None:
    begin = f"""
    @app.on_start
    def start():
        import sys
        if os.path.exists("crashing"):
            {how}
    """
    run = start(servers, SERVER + PLAIN + textwrap.dedent(begin))
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("one") for client in clients] == ["one 1"] * 3
    (servers.directory / "crashing").touch()
    culprit = servers.connect()
    culprit.send("crash")
    assert [client.close_code() for client in clients] == [code] * 3
    assert culprit.close_code() == 1011
    assert run.wait() == status, run.err
    assert "crashed: SIGSEGV" in run.err


def test_L3_who_goes_while_the_server_starts_again_is_told_to_the_next_one(
    servers: Servers,
) -> None:
    begin = """
    @app.on_start
    def start():
        import time
        while os.path.exists("crashing") and not os.path.exists("gone"):
            time.sleep(0.01)
    """
    run = start(servers, SERVER + PLAIN + textwrap.dedent(begin))
    client, other = servers.connect(), servers.connect()
    (servers.directory / "crashing").touch()
    culprit = servers.connect()
    culprit.send("crash")
    run.until_logged("crashed: SIGSEGV")
    client.socket.close()
    (servers.directory / "gone").touch()
    assert culprit.close_code() == 1011
    run.until_said("left 1 1006 0 b''")
    assert other.ask("one") == "one 1"
    assert servers.stop(run) == 0


def test_a_server_that_is_not_to_be_restarted_ends_with_its_clients(servers: Servers) -> None:
    run = start(servers, SERVER + PLAIN, "--no-restart")
    client = servers.connect()
    culprit = servers.connect()
    culprit.send("crash")
    assert run.wait() < 0
    assert client.ended()
    assert culprit.ended()


def test_what_a_process_that_was_forked_does_is_not_written_down(servers: Servers) -> None:
    source = PLAIN.replace(
        "    else:\n        count",
        "    elif message == 'fork':\n"
        "        if os.fork() == 0:\n"
        "            conn.send('from the child')\n"
        "            conn.save(b'99')\n"
        "            os._exit(0)\n"
        "        os.wait()\n"
        "    else:\n        count",
    )
    run = start(servers, SERVER + source)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    client.send("fork")
    assert client.ask("two") == "two 2"
    crash(servers)
    assert client.ask("three") == "three 3"
    assert servers.stop(run) == 0
