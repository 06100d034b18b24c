"""The end of a process: threads do not hold it up, and what a handler has forked ends alone."""

import json
import signal
import textwrap
from pathlib import Path

import pytest

from tests.support.daemons import Daemons, reaper
from tests.support.frames import TEXT, frame
from tests.support.servers import Run, Servers, until

# Threads

SLEEPER = """
    import threading

    def ws_exit_func():
        threading.Thread(target=time.sleep, args=(3600,), name="sleeper").start()
"""

LEFT = "the process does not wait for threads that have not ended: sleeper"


def test_R27_a_thread_does_not_hold_up_the_end_of_a_server(servers: Servers) -> None:
    run = servers.serve(SLEEPER, "--stop-grace=0.1")
    assert servers.stop(run) == 0
    assert not servers.path.exists()
    assert run.err.count(LEFT) == 1


def test_R27_a_signal_that_comes_while_it_waits_for_threads_ends_it(servers: Servers) -> None:
    run = servers.serve(SLEEPER, "--stop-grace=3600")
    run.process.send_signal(signal.SIGTERM)
    until(lambda: not servers.path.exists(), "the end of the socket")
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 0
    assert run.err.count(LEFT) == 1


def test_R27_a_program_of_its_own_does_not_wait_either(servers: Servers) -> None:
    file = servers.write(SLEEPER)
    file.write_text(file.read_text() + "\ndorrit.main()\n")
    command = servers.command(file, "--stop-grace=0.1")
    run = servers.start(command[0], *command[4:]).until_listening()
    assert servers.stop(run) == 0
    assert LEFT in run.err


@pytest.mark.root
def test_R27_nor_does_a_daemon_and_its_files_are_gone(directory: Path) -> None:
    with reaper():
        daemons = Daemons(directory)
        daemon = daemons(SLEEPER)
        try:
            daemon.start("--stop-grace=0.1")
            daemon.kill(signal.SIGTERM)
            assert daemon.wait() == 0
            assert daemon.files == set()
        finally:
            daemons.close()


def test_a_server_that_can_not_start_does_not_wait_for_threads(servers: Servers) -> None:
    file = servers.write(SLEEPER + "    def ws_init_func(): dorrit.ws_set_periodic(1 / 0, 1)\n")
    file.write_text(
        file.read_text()
        + textwrap.dedent("""
        threading.Thread(target=time.sleep, args=(3600,), name="sleeper").start()
    """)
    )
    run = servers.run(*servers.command(file, "--stop-grace=0.1"))
    assert run.process.returncode == 1
    assert LEFT in run.err


# What the interpreter meets at its end

LAST = {
    "a task that catches everything": """
        @app.on_start
        async def start():
            asyncio.create_task(refuses())
    """,
    "a handler that catches everything": """
        @app.on_message
        async def said(conn, message):
            await refuses()
    """,
    "a generator": """
        def generates():
            try:
                yield
            finally:
                hang()
        generator = generates()
        next(generator)
    """,
    "an asynchronous generator": """
        async def generates():
            while True:
                try:
                    yield
                except:
                    await refuses()
        @app.on_start
        async def start():
            global generator
            generator = generates()
            await anext(generator)
    """,
    "a __del__": """
        class Kept:
            def __del__(self):
                hang()
        kept = Kept()
    """,
    "an atexit handler": """
        import atexit
        atexit.register(hang)
    """,
    "one that waits for a lock": """
        import atexit, threading
        lock = threading.Lock()
        lock.acquire()
        def waits():
            say("hangs")
            lock.acquire()
        atexit.register(waits)
    """,
    "one that keeps the interpreter's lock": """
        import atexit, ctypes
        def keeps():
            say("hangs")
            ctypes.PyDLL(None).sleep(3600)
        atexit.register(keeps)
    """,
    "one behind a thread": """
        import atexit, threading
        atexit.register(hang)
        @app.on_stop
        def stop():
            threading.Thread(target=time.sleep, args=(0.05,)).start()
    """,
}

HANGING = """
import asyncio
from dorrit import Server

# At the interpreter's end globals and sys.stdout may be gone already.
def say(words, write=os.write):
    write(1, words.encode() + b"\\n")

def hang(say=say, sleep=time.sleep):
    say("hangs")
    while True:
        sleep(0.01)

async def refuses(say=say, sleep=asyncio.sleep):
    said = False
    say("begins")
    while True:
        try:
            await sleep(0.01)
        except BaseException as error:
            # It is being closed, and then no event loop runs, or asyncio's globals are gone.
            if not said and type(error).__name__ != "CancelledError":
                said = True
                say("hangs")

app = Server("hanging")
app.on_close(print)  # no function of this file, which would keep it from being collected
"""

REFUSES = {
    "a task that catches everything",
    "a handler that catches everything",
    "an asynchronous generator",
}

ENDS = "the process ends though code of the server goes on:"


def hanging(servers: Servers, what: str, *options: object) -> Run:
    """A server that is up, has a client, and will hang."""
    file = servers.write(HANGING + textwrap.dedent(LAST[what]))
    run = servers.start(*servers.command(f"{file}:app", *options)).until_listening()
    servers.connect().send("x")
    if what.endswith("catches everything"):
        run.until_said("begins")
    return run


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("what", LAST)
def test_R27_what_hangs_at_the_end_is_named_and_left(
    servers: Servers, what: str, event_loop: str
) -> None:
    run = hanging(servers, what, "--stop-grace=0.1", "--event-loop", event_loop)
    assert servers.stop(run) == 0
    assert not servers.path.exists()
    if what in REFUSES:
        # Named before; whether the interpreter closes them at its end is its own affair.
        assert "cancelled" in run.err or "asynchronous generators" in run.err or ENDS in run.err
    else:
        assert run.err.count(ENDS) == 1


@pytest.mark.parametrize("what", [what for what in LAST if what not in REFUSES])
def test_R27_a_second_signal_ends_what_hangs_at_the_end(servers: Servers, what: str) -> None:
    run = hanging(servers, what, "--stop-grace=3600", "--event-loop=asyncio")
    run.process.send_signal(signal.SIGTERM)
    for client in servers.clients:
        client.socket.close()
    run.until_said("hangs")
    assert not servers.path.exists()
    run.process.send_signal(signal.SIGTERM)
    assert run.wait() == 0
    assert run.err.count(ENDS) == 1
    assert "server.py" in run.err.partition(ENDS)[2], "the stack says where"


def test_R27_a_daemon_has_it_in_its_log_and_keeps_no_files(directory: Path) -> None:
    with reaper():
        daemons = Daemons(directory)
        daemon = daemons("""
            import atexit
            atexit.register(time.sleep, 3600)
        """)
        log = directory / "log"
        log.mkdir()
        log.chmod(0o777)
        try:
            daemon.start("--stop-grace=0.1", "--log", log / "log")
            daemon.kill(signal.SIGTERM)
            assert daemon.wait() == 0
            assert daemon.files == set()
            assert (log / "log").read_text().count(ENDS) == 1
        finally:
            daemons.close()


def test_what_ends_in_time_is_not_disturbed(servers: Servers) -> None:
    run = servers.serve("""
        import atexit
        def last():
            time.sleep(0.3)
            say("last")
        atexit.register(last)
    """)
    assert servers.stop(run) == 0
    assert run.said == ["last"]
    assert ENDS not in run.err


# Forked processes

FORKS = """\
import asyncio, os, signal, sys
from dorrit import Server

def say(*words):
    print(*words, flush=True)

def fork(how, *_):
    if os.fork() == 0:
        # The one that serves is stopped by what the other one does wrong, or goes deaf.
        if how == "exits":
            sys.exit(7)
        elif how == "raises":
            raise LookupError("in the child")
        elif how == "says why":
            sys.exit("for this reason")
        return
    say("child", os.waitstatus_to_exitcode(os.wait()[1]))

app = Server("forks", stop_grace=0.2)
server = os.getpid()

@app.on_message
def echo(conn, message):
    conn.send(message)

@app.on_close
def left(conn, code, reason):
    say("closed", os.getpid() == server)

@app.on_stop
def stop():
    say("stop", os.getpid() == server)

"""

PLACES = {
    "message": "app._application.handlers.message = None\n"
    "@app.on_message\n{kind}def said(conn, message):\n"
    "    conn.send('echo')\n    {pause}\n    fork(HOW)\n",
    "open": "@app.on_open\n{kind}def opened(conn):\n    {pause}\n    fork(HOW)\n",
    "periodic": "@app.every(0.01)\n{kind}def tick():\n"
    "    tick_once = globals().pop('tick', None)\n    {pause}\n"
    "    tick_once and fork(HOW)\n",
    "call": "@app.on_start\n{kind}def start():\n    pass\n"
    "{kind}def called():\n    {pause}\n    fork(HOW)\n"
    "@app.on_open\ndef opened(conn):\n    app.call_soon_threadsafe(called)\n",
}

TASK = """
@app.on_open
async def opened(conn):
    app.task = asyncio.create_task(forks())
async def forks():
    await asyncio.sleep(0)
    fork(HOW)
"""


@pytest.mark.parametrize("how", ["exits", "raises", "says why", "returns"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["", "asyncio", "uvloop", "asyncio, later", "uvloop, later"])
def test_a_process_that_a_handler_forks_ends_alone_and_the_server_goes_on(
    servers: Servers, place: str, kind: str, how: str
) -> None:
    pause = "await asyncio.sleep(0.001)" if "later" in kind else "pass"
    source = PLACES[place].format(kind="async " if kind else "", pause=pause)
    file = servers.directory / "forks.py"
    file.write_text(FORKS + source.replace("HOW", repr(how)))
    loop = ["--event-loop", kind.partition(",")[0]] if kind else []
    run = servers.start(*servers.command(f"{file}:app", *loop)).until_listening()
    client = servers.connect()
    client.send("x")
    run.until_said(f"child {7 if how == 'exits' else 1}")
    # The connection from before is served on, and so are new ones.
    client.receive()
    other = servers.connect()
    other.send("x")
    other.receive()
    assert servers.is_listening()
    assert servers.stop(run) == 0
    assert "stop False" not in run.said
    assert "closed False" not in run.said
    assert "stop True" in run.said
    if how == "raises":
        assert "LookupError: in the child" in run.err
    if how == "returns":
        assert "has forked a process, which ends now" in run.err
    if how == "says why":
        assert "for this reason" in run.err


@pytest.mark.parametrize("how", ["exits", "raises", "returns"])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_so_does_one_that_a_task_forks_when_it_comes_back_to_the_event_loop(
    servers: Servers, kind: str, how: str
) -> None:
    file = servers.directory / "forks.py"
    file.write_text(FORKS + TASK.replace("HOW", repr(how)))
    run = servers.start(*servers.command(f"{file}:app", "--event-loop", kind)).until_listening()
    client = servers.connect()
    until(lambda: any(line.startswith("child") for line in run.said), "the end of the child")
    assert client.ask("x") == "x"
    assert servers.stop(run) == 0
    # The loop of uvloop goes on in spite of a SystemExit.
    status = 7 if how == "exits" and kind == "asyncio" else 1
    assert run.said == [f"child {status}", "closed True", "stop True"]


@pytest.mark.parametrize("how", ["exits", "raises", "returns"])
@pytest.mark.parametrize("event", ["start", "stop", "close"])
@pytest.mark.parametrize("kind", ["", "async "])
def test_so_does_one_that_is_forked_at_the_start_or_at_the_end(
    servers: Servers, event: str, how: str, kind: str
) -> None:
    file = servers.directory / "forks.py"
    arguments = "conn, code, reason" if event == "close" else ""
    file.write_text(
        FORKS + f"app._application.handlers.{event} = None\n"
        f"@app.on_{event}\n{kind}def handler({arguments}):\n    fork({how!r})\n"
    )
    run = servers.start(*servers.command(f"{file}:app", "--log-format", "json"))
    run.until_logged("listening on ")
    servers.connect()
    assert servers.stop(run) == 0
    records = [json.loads(line) for line in run.err.splitlines()]
    raised = [r["exception"].splitlines()[-1] for r in records if r["level"] == "ERROR"
              if "exception" in r]  # fmt: skip
    assert raised == (["LookupError: in the child"] if how == "raises" else [])
    assert f"child {7 if how == 'exits' else 1}" in run.said
    assert run.said.count("stop True") == (event != "stop")
    assert "stop False" not in run.said
    assert not servers.path.exists()


@pytest.mark.parametrize("pause", ["pass", "await asyncio.sleep(0.001)"], ids=["now", "later"])
def test_one_of_an_async_handler_leaves_the_messages_that_wait_to_the_server(
    servers: Servers, pause: str
) -> None:
    file = servers.directory / "forks.py"
    file.write_text(
        FORKS
        + f"""
app._application.handlers.message = None
forked = False

@app.on_message
async def said(conn, message):
    global forked
    {pause}
    say(message, forked)
    if not forked:
        forked = True
        if os.fork() == 0:
            return
        os.wait()
"""
    )
    run = servers.start(*servers.command(f"{file}:app")).until_listening()
    client = servers.connect()
    client.socket.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
    run.until_said("two True")
    assert servers.stop(run) == 0
    assert run.said == ["one False", "two True", "closed True", "stop True"]


def test_one_of_a_server_of_five_functions_leaves_the_rest_of_the_messages_to_the_server(
    servers: Servers,
) -> None:
    run = servers.serve("""
    forked = False
    def ws_read_callback(conn, binary, data):
        global forked
        say(data.decode(), forked)
        if not forked:
            forked = True
            if os.fork() == 0:
                return
            os.wait()
    """)
    client = servers.connect()
    client.socket.sendall(frame(TEXT, b"one") + frame(TEXT, b"two"))
    run.until_said("two True")
    assert servers.stop(run) == 0
    assert run.said == ["one False", "two True"]
