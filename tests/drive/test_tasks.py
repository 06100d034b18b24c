"""What is left of async handlers when a server stops: it is named, and does not hold up the end."""

import signal

import pytest

from tests.support.frames import close_frame
from tests.support.servers import Client, Run, Servers

BEGINNING = """\
import asyncio, os, sys, threading, time
from dorrit import Server

def say(*words):
    print(*words, flush=True)

app = Server(stop_grace=0.2, stop_timeout=0.2)

@app.on_message
async def echo(conn, message):
    conn.send(message)

"""

NEVER = """
async def never():
    say("begun")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""

EVENT_LOOPS = pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])


def serve(servers: Servers, source: str, *options: object, event_loop: str = "asyncio") -> Run:
    """Run a server that echoes, but for what `source` adds."""
    file = servers.directory / "left.py"
    file.write_text(BEGINNING + source)
    command = servers.command(f"{file}:app", "--event-loop", event_loop, *options)
    return servers.start(*command).until_listening()


def stopped(servers: Servers, run: Run, client: Client | None = None) -> None:
    """Stop it; nothing of it is left, and it has the exit status of any stop.

    What these servers would wait for takes an hour, so the timeout of the tests is bound enough.
    """
    run.process.send_signal(signal.SIGTERM)
    if client is not None:
        client.socket.sendall(close_frame(1001))
    assert run.wait() == 0, run.err
    assert not servers.path.exists()
    assert [path for path in servers.directory.iterdir() if "socket" in path.name] == []


@EVENT_LOOPS
def test_R27_a_thread_that_a_handler_waits_for_does_not_hold_up_the_end(
    servers: Servers, event_loop: str
) -> None:
    run = serve(
        servers,
        """
@app.every(0.01)
async def works():
    say("begun")
    await asyncio.to_thread(time.sleep, 3600)
""",
        event_loop=event_loop,
    )
    run.until_said("begun")
    stopped(servers, run)
    assert "are cancelled: works (" in run.err
    assert f"threads that have not ended: {event_loop}_0" in run.err


@EVENT_LOOPS
def test_R27_what_ends_in_time_is_waited_for_and_the_process_ends_in_the_ordinary_way(
    servers: Servers, event_loop: str
) -> None:
    run = serve(
        servers,
        """
import atexit

atexit.register(say, "exits")

def work():
    say("begun")
    time.sleep(0.3)
    say("ended")

@app.on_start
def start():
    threading.Thread(target=work).start()

@app.on_stop
async def stop():
    await asyncio.to_thread(time.sleep, 0.01)
    say("stopped")
""",
        "--stop-grace=60",
        event_loop=event_loop,
    )
    run.until_said("begun")
    stopped(servers, run)
    assert sorted(run.said[:-1]) == ["begun", "ended", "stopped"]
    assert run.said[-1] == "exits"
    assert "have not ended" not in run.err


@EVENT_LOOPS
def test_R27_a_handler_that_does_not_take_its_cancellation_is_named_and_left(
    servers: Servers, event_loop: str
) -> None:
    run = serve(servers, NEVER + "\napp.every(0.01)(never)\n", event_loop=event_loop)
    run.until_said("begun")
    stopped(servers, run)
    assert run.err.count("go on though they were cancelled: never (") == 1
    assert "was destroyed" not in run.err


@EVENT_LOOPS
def test_R27_so_is_a_task_that_a_handler_has_made(servers: Servers, event_loop: str) -> None:
    run = serve(
        servers,
        NEVER
        + """
tasks = []

@app.on_open
async def opened(conn):
    tasks.append(asyncio.create_task(never()))
    tasks.append(asyncio.create_task(fails()))

async def fails():
    try:
        await asyncio.sleep(3600)
    finally:
        raise LookupError("at the end")
""",
        event_loop=event_loop,
    )
    client = servers.connect()
    run.until_said("begun")
    run.process.send_signal(signal.SIGTERM)
    client.socket.sendall(close_frame(1001))
    assert run.wait() == 0
    assert not servers.path.exists()
    assert run.err.count("1 tasks go on though they were cancelled: never (") == 1
    assert "LookupError: at the end" in run.err
    assert "was destroyed" not in run.err


@EVENT_LOOPS
def test_R27_an_async_stop_handler_has_the_grace_period(servers: Servers, event_loop: str) -> None:
    run = serve(
        servers,
        """
@app.on_stop
async def stop():
    try:
        await asyncio.Event().wait()
    finally:
        say("cancelled")
""",
        event_loop=event_loop,
    )
    stopped(servers, run)
    assert run.said == ["cancelled"]
    assert "are cancelled: stop (" in run.err


def test_R27_one_that_does_not_take_its_cancellation_is_left(servers: Servers) -> None:
    run = serve(servers, NEVER + "\napp.on_stop(never)\n")
    stopped(servers, run)
    assert run.err.count("go on though they were cancelled: never (") == 1


def test_what_it_raises_when_it_is_cancelled_is_an_exit_status(servers: Servers) -> None:
    run = serve(
        servers,
        """
@app.on_stop
async def stop():
    try:
        await asyncio.Event().wait()
    finally:
        raise LookupError("at the end")
""",
    )
    assert servers.stop(run) == 1
    assert "LookupError: at the end" in run.err
    assert not servers.path.exists()


def test_R27_an_asynchronous_generator_that_does_not_end_is_left(servers: Servers) -> None:
    run = serve(
        servers,
        """
async def generate():
    try:
        yield
    finally:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

generator = generate()

@app.on_start
async def start():
    await anext(generator)
""",
    )
    stopped(servers, run)
    assert "asynchronous generators have not ended" in run.err


@EVENT_LOOPS
def test_R27_a_second_signal_waits_for_nothing_of_that(servers: Servers, event_loop: str) -> None:
    run = serve(
        servers,
        NEVER
        + """
tasks = []

@app.on_stop
async def stop():
    tasks.append(asyncio.create_task(never()))
    threading.Thread(target=time.sleep, args=(3600,), name="sleeper").start()
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
    say("stopping")
    await asyncio.Event().wait()
""",
        "--stop-grace=3600",
        "--stop-timeout=3600",
        event_loop=event_loop,
    )
    run.process.send_signal(signal.SIGTERM)
    run.until_said("stopping")
    stopped(servers, run)
    assert "threads that have not ended: " in run.err
    assert "sleeper" in run.err


def test_R27_two_signals_before_the_end_begins_do_not_skip_the_stop_handler(
    servers: Servers,
) -> None:
    run = serve(
        servers,
        """
import signal

@app.on_open
def opened(conn):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)

@app.on_stop
async def stop():
    await asyncio.sleep(0.01)
    say("stopped")
""",
        "--stop-grace=3600",
        "--stop-timeout=3600",
    )
    servers.connect()
    assert run.wait() == 0
    assert run.said == ["stopped"]


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGINT)])
def test_a_start_handler_that_does_not_end_is_cancelled(
    servers: Servers, signals: tuple[signal.Signals, ...]
) -> None:
    file = servers.directory / "left.py"
    file.write_text(
        BEGINNING
        + """
@app.on_start
async def start():
    say("begun")
    await asyncio.Event().wait()
"""
    )
    grace = "--stop-grace=3600" if len(signals) > 1 else "--stop-grace=0.01"
    run = servers.start(*servers.command(f"{file}:app", grace))
    run.until_said("begun")
    for number in signals:  # two of the same could become one
        run.process.send_signal(number)
    assert run.wait() == 1
    assert run.err.splitlines()[-1] == (
        "dorrit: told to stop before it was ready: on_start was cancelled"
    )
    assert not servers.path.exists()


def test_many_handlers_are_counted_by_where_they_wait(servers: Servers) -> None:
    source = "async def wait(): await asyncio.Event().wait()\n"
    source += "".join(
        f"app.every(0.01)(lambda: None)\nasync def f{n}(): await wait()\n" for n in range(12)
    )
    source += """
@app.on_open
async def opened(conn):
    for n in range(12):
        for _ in range(2):
            app.call_soon_threadsafe(globals()[f"f{n}"])
    app.call_soon_threadsafe(say, "begun")
"""
    run = serve(servers, source)
    client = servers.connect()
    run.until_said("begun")
    stopped(servers, run, client)
    assert "24 async handlers have not ended in time" in run.err
    assert run.err.count(", 2 times") == 10
    assert "; and 2 others" in run.err
