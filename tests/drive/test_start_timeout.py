"""New code of a server that can't be started: its clients wait, and then they are told (L2)."""

import signal

import pytest

from tests.support.reloading import Reloaded
from tests.support.servers import Servers, until

BROKEN = """
def start():
    say("start", VERSION)
    if is_there("broken"):
        raise ValueError("it is broken")
"""

CRASHING = """
def start():
    if is_there("broken"):
        Path(__file__).with_name("broken").unlink()
        import ctypes
        ctypes.string_at(0)
"""

HANGING = """
def start():
    say("hangs")
    while is_there("broken"):
        time.sleep(0.01)
"""

WAITS = "it is tried again in"


@pytest.fixture
def reloaded(servers: Servers) -> Reloaded:
    return Reloaded(servers)


def ask_for_a_start_that_fails(reloaded: Reloaded, source: str) -> None:
    """Have it run version 2, whose start fails as long as there is a file "broken"."""
    reloaded.touch("broken")
    reloaded.write(2, source)
    reloaded.ask()


def test_L2_when_it_is_mended_it_serves_with_all_clients(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start()
    client = servers.connect()
    client.send("before")
    assert client.text() == "1 before"
    ask_for_a_start_that_fails(reloaded, BROKEN)
    run.until_logged(WAITS)
    client.send("meanwhile")
    reloaded.write(3)
    reloaded.until_reloaded()
    assert client.text() == "3 meanwhile"
    assert "the new code can't be started: on_start raised ValueError: it is broken" in run.err
    assert run.said.count("stop 2") == 0
    assert run.said.count("atexit 2") == run.said.count("start 2")
    assert servers.stop(run) == 0


def test_L2_ws_init_func_may_raise_as_well(servers: Servers) -> None:
    source = """
        def ws_init_func():
            if os.path.exists("broken"):
                raise ValueError("it is broken")
        def ws_exit_func():
            say("exit")
    """
    run = servers.serve(source)
    client = servers.connect()
    (servers.directory / "broken").touch()
    run.process.send_signal(signal.SIGUSR2)
    run.until_logged(WAITS)
    assert run.said == ["exit"]  # of the old code
    (servers.directory / "broken").unlink()
    run.until_logged(" reloaded: ")
    assert client.ask("a") == "a"


def test_L2_the_next_reload_ends_the_wait(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, BROKEN)
    until(lambda: run.err.count(WAITS) >= 5)  # the next ones are long
    reloaded.remove("broken")
    reloaded.ask()
    reloaded.until_reloaded()
    assert client.ask("a") == "2 a"


def test_L2_a_crash_of_the_start_begins_it_anew(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, CRASHING)
    reloaded.until_reloaded()
    assert client.ask("a") == "2 a"
    assert "crashed: SIGSEGV" in run.err


def test_L2_a_file_that_can_not_be_loaded_any_more_is_waited_for(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start("def stop():\n    Path(__file__).write_text('broken(')\n")
    client = servers.connect()
    reloaded.ask()
    run.until_logged(WAITS)
    reloaded.write(2)
    reloaded.until_reloaded()
    assert client.ask("a") == "2 a"


@pytest.mark.parametrize("timeout", ["0", "0.5"])
def test_L2_after_the_timeout_clients_are_told_to_come_again(
    servers: Servers, reloaded: Reloaded, timeout: str
) -> None:
    run = reloaded.start("", "--resume-timeout", timeout)
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, BROKEN)
    assert client.close_code() == 1012
    client.socket.close()
    assert run.wait() == 1
    assert "the new code has not come to serve in time: the server ends" in run.err
    assert not servers.path.exists()


def test_L2_a_start_that_does_not_end_is_ended_with_the_timeout(
    servers: Servers, reloaded: Reloaded
) -> None:
    run = reloaded.start("", "--resume-timeout", 0)
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, HANGING)
    run.until_said("hangs")
    assert client.close_code() == 1012
    client.socket.close()
    assert run.wait() == 1
    assert "the new code does not come to serve; the server ends:" in run.err
    assert "in start" in run.err
    assert not servers.path.exists()


# It is told to stop


def test_L2_a_stop_ends_the_wait(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, BROKEN)
    until(lambda: run.err.count(WAITS) >= 5)
    run.process.terminate()
    assert client.close_code() == 1001
    client.socket.close()
    assert run.wait() == 0
    assert not servers.path.exists()


def test_L2_a_stop_during_the_start_is_in_order(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, HANGING)
    run.until_said("hangs")
    run.process.terminate()
    reloaded.remove("broken")
    assert client.close_code() == 1001
    client.socket.close()
    assert run.wait() == 0
    assert run.said[-2:] == ["stop 2", "atexit 2"]


def test_L2_a_start_that_does_not_end_is_stopped(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start("", "--stop-grace", 0)
    client = servers.connect()
    ask_for_a_start_that_fails(reloaded, HANGING)
    run.until_said("hangs")
    run.process.terminate()
    assert client.close_code() == 1001
    assert run.wait() == 1
    assert not servers.path.exists()


def test_L2_a_start_that_raises_when_told_to_stop_is_not_tried_again(
    servers: Servers, reloaded: Reloaded
) -> None:
    kill = "    os.kill(os.getpid(), signal.SIGTERM)\n    raise ValueError\n"
    run = reloaded.start()
    client = servers.connect()
    reloaded.write(2, f"def start():\n{kill}")
    reloaded.ask()
    assert client.close_code() == 1001
    client.socket.close()
    assert run.wait() == 1
    assert WAITS not in run.err
