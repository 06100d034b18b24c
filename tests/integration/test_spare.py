"""The spare worker of a supervised server: it goes on when the one that serves has ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_supervisor import (
    environment,
    kill,
    kill_idle,
    serve,
    times_served,
    until_served,
    worker_of,
    workers_of,
    write,
)
from tests.live.server import reload
from tests.support import proc
from tests.support.servers import Run, Servers, until

NAMELESS = signal.SIGRTMIN + 1
"""A signal that Python has no name for."""

LOADS = """
with path_of("loads").open("a") as loads:
    loads.write(f"{os.getpid()} {VERSION}\\n")
if is_there("bad"):
    raise RuntimeError("it can't be loaded now")
"""
"""Says who has loaded the server, and which version of it."""

TELLS_VERSION = """
def back(conn, state):
    conn.data = int(state or b"0")
    conn.send(f"version {VERSION} in {os.getpid()}")
"""


@pytest.fixture
def servers(directory: Path) -> Iterator[Servers]:
    made = Servers(directory)
    yield made
    made.close()


def loads(servers: Servers) -> list[str]:
    """Who has loaded the server's file, in order: pid and version."""
    file = servers.directory / "loads"
    return file.read_text().splitlines() if file.exists() else []


def spare_of(supervisor: int) -> int:
    """The spare worker, when it waits for its turn."""

    def waits() -> bool:
        others = set(workers_of(supervisor)) - {worker_of(supervisor)}
        return any(proc.waits_in(pid) == "poll" for pid in others)

    until(waits, "the spare worker")
    [spare] = set(workers_of(supervisor)) - {worker_of(supervisor)}
    return spare


def until_said(run: Run, words: str, times: int = 1) -> None:
    """Wait until the log has these words so often."""
    until(lambda: run.err.count(words) == times, words)


def test_W1_when_the_worker_ends_the_spare_one_goes_on_and_there_is_another(
    servers: Servers,
) -> None:
    run = serve(servers)
    client = servers.connect()
    assert client.ask("one") == "one 1"
    for number in range(2, 5):
        spare = spare_of(run.pid)
        kill(run)
        assert worker_of(run.pid) == spare
        assert client.ask("one") == f"one {number}"
        assert int(client.ask("pid")) == spare
    assert "the spare worker has ended" not in run.err


def test_a_crash_and_a_reload_leave_the_connections_to_a_spare_one_as_well(
    servers: Servers,
) -> None:
    run = serve(servers)
    client, culprit = servers.connect(), servers.connect()
    spare = spare_of(run.pid)
    culprit.send("crash")
    assert culprit.close_code() == 1011
    until_served(run, 2)
    assert int(client.ask("pid")) == spare
    old = spare_of(run.pid)
    reload(run)
    assert int(client.ask("pid")) not in {spare, old}  # what that has loaded may be older
    until(lambda: proc.is_gone(old), "the end of the spare worker")


def test_without_preload_a_spare_worker_has_not_loaded_the_server(servers: Servers) -> None:
    run = serve(servers, LOADS)
    spare = spare_of(run.pid)
    assert loads(servers) == [f"{run.pid} 1"]
    write(servers, LOADS, version=2)
    kill(run)
    assert loads(servers) == [f"{run.pid} 1", f"{spare} 2"]


def test_L10_with_preload_it_has_and_what_is_changed_meanwhile_counts_with_a_reload(
    servers: Servers,
) -> None:
    source = LOADS + TELLS_VERSION
    run = serve(servers, source, "--preload")
    client = servers.connect()
    assert client.ask("one") == "one 1"
    spare = spare_of(run.pid)
    assert loads(servers) == [f"{run.pid} 1", f"{spare} 1"]
    write(servers, source, version=2)
    kill(run)
    assert client.receive().payload.decode() == f"version 1 in {spare}"
    assert loads(servers)[-1] == f"{spare} 1"
    spare_of(run.pid)
    write(servers, source, version=3)
    reload(run)
    assert client.receive().payload.decode().startswith("version 3 in ")
    worker = worker_of(run.pid)
    assert f"{worker} 3" in loads(servers)
    assert loads(servers).count(f"{worker} 3") == 1


def test_who_ends_the_spare_worker_harms_nobody(servers: Servers) -> None:
    run = serve(servers)
    client = servers.connect()
    for times, number in enumerate((signal.SIGKILL, signal.SIGSEGV, NAMELESS), 1):
        os.kill(spare_of(run.pid), number)
        until_said(run, "the spare worker has ended: SIG", times)
        assert workers_of(run.pid) == [worker_of(run.pid)]
        served = times_served(run)
        reload(run)
        until_served(run, served + 1)
    os.kill(spare_of(run.pid), signal.SIGKILL)
    until_said(run, "the spare worker has ended", 4)
    kill(run)
    assert client.ask("one") == "one 1"


def test_a_server_that_can_not_be_loaded_ahead_is_loaded_when_it_is_needed(
    servers: Servers,
) -> None:
    run = serve(servers, LOADS, "--preload")
    client = servers.connect()
    spare_of(run.pid)
    (servers.directory / "bad").touch()
    with pytest.raises(AssertionError, match="it can't be loaded now"):
        reload(run)
    assert "the spare worker has ended: exit status 1" in run.err
    assert client.ask("one") == "one 1"
    assert workers_of(run.pid) == [worker_of(run.pid)]
    (servers.directory / "bad").unlink()
    kill(run)
    assert client.ask("one") == "one 2"
    spare_of(run.pid)


def test_a_worker_that_ends_while_another_one_is_loading_the_server_ahead_is_followed_by_that(
    servers: Servers,
) -> None:
    run = serve(
        servers, "if is_there('hold'): path_of('held').touch(); wait_for('go on')\n", "--preload"
    )
    client = servers.connect()
    os.kill(spare_of(run.pid), signal.SIGKILL)
    until_said(run, "the spare worker has ended")
    (servers.directory / "hold").touch()
    os.kill(run.pid, signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the next one")
    [next_one] = set(workers_of(run.pid)) - {worker_of(run.pid)}
    kill_idle(worker_of(run.pid))
    until(lambda: workers_of(run.pid) == [next_one], "the end of the worker")
    (servers.directory / "go on").touch()
    until_served(run, 2)
    assert int(client.ask("pid")) == next_one


def test_a_stop_while_the_next_one_loads_the_server_ahead_ends_it_in_order(
    servers: Servers,
) -> None:
    source = "if is_there('hold'): path_of('held').touch(); wait_for('go on')\n"
    run = serve(servers, source, "--preload")
    client = servers.connect()
    spare_of(run.pid)
    (servers.directory / "hold").touch()
    os.kill(run.pid, signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the next one")
    worker = worker_of(run.pid)
    kill_idle(worker)
    until(lambda: not Path(f"/proc/{worker}").exists(), "that the supervisor has heard of its end")
    run.process.terminate()
    (servers.directory / "go on").touch()
    assert client.close_code() in {1001, 1012}
    assert run.wait() == 0
    assert "Traceback" not in run.err


def test_a_worker_that_a_signal_without_a_name_ends_is_followed_by_another_one(
    servers: Servers,
) -> None:
    run = serve(servers)
    client = servers.connect()
    kill(run, NAMELESS)
    assert client.ask("one") == "one 1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_supervisor(servers: Servers, number: int) -> None:
    run = serve(servers)
    spare = spare_of(run.pid)
    os.kill(run.pid, number)
    run.wait()
    until(lambda: proc.is_gone(spare), "the end of the spare worker")
    assert "Traceback" not in run.err


def test_one_that_loads_the_server_ends_with_it_as_well(servers: Servers) -> None:
    source = "if is_there('hold'): path_of('held').touch(); wait_for('go on')\n"
    run = serve(servers, source, "--preload")
    spare_of(run.pid)
    (servers.directory / "hold").touch()
    os.kill(run.pid, signal.SIGUSR2)
    until((servers.directory / "held").exists, "the start of the next one")
    run.process.terminate()
    assert run.wait() == 0
    assert "Traceback" not in run.err


def test_a_stop_in_a_terminal_is_no_concern_of_it(servers: Servers) -> None:
    file = write(servers)
    command = servers.command(f"{file}:app", "--supervise")
    run = servers.start(*command, env=environment(), start_new_session=True).until_listening()
    spare_of(run.pid)
    os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does it
    assert run.wait() == 0
    assert "Traceback" not in run.err
    assert run.err.splitlines()[-1].endswith(" INFO stopping")


def test_what_a_reload_changes_of_the_settings_holds_for_the_supervisor(servers: Servers) -> None:
    run = serve(servers)
    servers.connect()
    spare_of(run.pid)
    write(servers, "app = Server('supervised', no_restart=True)\n")
    reload(run)
    kill_idle(worker_of(run.pid))
    assert run.wait() == 1
    assert "the worker was ended by SIGKILL, and the server ends" in run.err
