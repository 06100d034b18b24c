"""``dorrit reload``: what it says, and its exit statuses."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from dorrit.cli.reload import described
from dorrit.process.control.status import Status
from tests.support.reloading import Reloaded
from tests.support.servers import Run, Servers, dorrit
from tests.support.status_servers import Started, status_servers


@pytest.fixture
def reloaded(servers: Servers) -> Reloaded:
    return Reloaded(servers)


@pytest.fixture
def start(servers: Servers) -> Iterator[Callable[..., Started]]:
    with status_servers(servers.directory, "old", os.fspath(servers.path), cwd="/tmp") as run:
        yield run


def reload(servers: Servers, *words: object) -> Run:
    return servers.run(*dorrit("reload", *words))


def test_L1_status_3_is_a_server_that_does_not_run(servers: Servers) -> None:
    done = reload(servers, servers.path)
    assert done.process.returncode == 3
    assert done.err == f"dorrit: {servers.path}.status: no server runs there\n"


def test_L1_a_server_of_an_older_release_is_left_alone(
    servers: Servers, start: Callable[..., Started]
) -> None:
    process = start()
    done = reload(servers, servers.path)
    assert (done.process.returncode, done.out) == (1, "")
    assert done.err == (
        f"dorrit: {servers.path}: not reloaded: it is run by dorrit 9.8.7, which can't: use "
        "'dorrit restart'\n"
    )
    assert process.poll() is None  # SIGUSR2 would have ended it


def test_L1_status_4_is_a_server_that_gives_no_answer(
    servers: Servers, start: Callable[..., Started]
) -> None:
    start().send_signal(signal.SIGSTOP)
    assert reload(servers, servers.path).process.returncode == 4


def test_L1_status_1_is_new_code_that_does_not_serve_in_time(
    servers: Servers, reloaded: Reloaded
) -> None:
    reloaded.start()
    client = servers.connect()
    reloaded.touch("broken")
    reloaded.write(2, "def start():\n    while is_there('broken'):\n        time.sleep(0.01)\n")
    done = reloaded.reload("--timeout", 4)
    assert (done.process.returncode, done.out) == (1, "")
    assert "was told to reload, and the new code does not serve after 4 seconds" in done.err
    reloaded.remove("broken")
    assert client.ask("a") == "2 a"


def test_L1_status_1_is_a_server_that_ends_instead(servers: Servers, reloaded: Reloaded) -> None:
    run = reloaded.start()
    reloaded.write(2, "def start():\n    os._exit(3)\n")
    done = reloaded.reload()
    assert done.process.returncode == 1
    assert done.err == f"dorrit: {servers.path}: process {run.pid} has ended\n"


def test_L1_status_says_what_has_come_of_reloads(servers: Servers, reloaded: Reloaded) -> None:
    reloaded.start()
    asked = dorrit("status", servers.path)
    assert "reloads" not in servers.run(*asked).out
    reloaded.write(2)
    assert reloaded.reload().process.returncode == 0
    said = servers.run(*asked).out
    assert "\nreloads     1\n" in said
    assert "\nrestarted   by a reload, with 0 connections in " in said
    reloaded.write(3, "raise ValueError('no')")
    assert reloaded.reload().process.returncode == 1
    said = servers.run(*asked).out
    assert "\nreloads     1; the attempt since then: refused: " in said
    assert "can't be loaded: ValueError: no\n" in said
    assert "\nrestarted   by a reload, with 0 connections in " in said


STATUS = Status(
    name="chat", pid=1, user="a", group="b", socket="/s", started=1, connections=1, restarts=0,
    version="1", reload_attempts=1, reload_state="done", reloads=1, last_restart="reload",
    carried=1, carried_in=0.126,
)  # fmt: skip


def test_L1_one_connection_is_one() -> None:
    assert described(STATUS) == "reloaded with 1 connection in 0.13 seconds"


def test_L1_what_was_lost_is_said() -> None:
    status = STATUS._replace(carried=5, lost=2)
    assert described(status) == "reloaded with 5 connections in 0.13 seconds; 2 were lost"


def test_L1_the_numbers_of_a_crash_since_then_are_not_the_reloads() -> None:
    assert described(STATUS._replace(last_restart="crash")) == "reloaded"


@pytest.mark.parametrize("value", ["-1", "x"])
def test_status_2_is_a_wrong_timeout(servers: Servers, value: str) -> None:
    done = reload(servers, "chat", f"--timeout={value}")
    assert done.process.returncode == 2
