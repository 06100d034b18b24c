"""Restarts of servers that lack what they take: files in memory, room on the disk, descriptors.

Each ends in a server that serves, and in a record in its log.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dorrit.drive.start_timeout import LEAST
from tests.live.server import HERE
from tests.support.servers import TIMEOUT, Client, Run, Servers, dorrit, until

SERVER = """
import ctypes, os
from pathlib import Path
from dorrit import Server

VERSION = 1
app = Server("short")

def fill():
    with open(os.environ["TMPDIR"] + "/fill", "ab", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            pass

@app.on_resume
def back(conn, state):
    conn.data = int(state)

@app.on_open
def came(conn):
    conn.data = 0

@app.on_message
def said(conn, message):
    if message == "crash":
        ctypes.string_at(0)
    conn.data += 1
    conn.save(b"%d" % conn.data)
    conn.send(f"{message} {conn.data} of {VERSION}")

@app.on_stop
def stop():
    if Path(__file__).with_name("fills").exists():
        fill()
"""

WAYS = pytest.mark.parametrize("options", [(), ("--supervise",)], ids=["alone", "supervised"])

NO_ROOM = "No space left on device"


class Short:
    """A server without files in memory: its files are on a small disk."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.disk = servers.directory / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", self.disk]
        subprocess.run(mount, check=True, timeout=TIMEOUT)
        self._file = servers.directory / "server.py"
        self.write(1)

    def write(self, version: int) -> None:
        self._file.write_text(SERVER.replace("VERSION = 1", f"VERSION = {version}"))

    def serve(self, *options: str) -> Run:
        environment = os.environ | {
            "TMPDIR": str(self.disk),
            "PYTHONPATH": str(HERE / "without_memfd"),
        }
        command = self._servers.command(f"{self._file}:app", *options)
        return self._servers.start(*command, env=environment).until_listening()

    def fill(self) -> None:
        """Leave no room on the disk."""
        disk = os.statvfs(self.disk)
        (self.disk / "fill").write_bytes(bytes(disk.f_bavail * disk.f_frsize))

    def close(self) -> None:
        try:
            self._servers.close()
        finally:
            subprocess.run(["umount", self.disk], check=True, timeout=TIMEOUT)


@pytest.fixture
def short(servers: Servers) -> Iterator[Short]:
    made = Short(servers)
    yield made
    made.close()


def reload(run: Run) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in dorrit("reload", run.path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def crash(servers: Servers, run: Run) -> Client:
    """Have it crash, and wait until it serves again; return the client that is to blame."""
    served = run.err.count("listening on")
    culprit = servers.connect()
    culprit.send("crash")
    until(lambda: run.err.count("listening on") > served, "the next image")
    return culprit


@pytest.mark.root
@WAYS
def test_L1_L3_without_files_in_memory_files_without_a_name_carry_everybody(
    servers: Servers, short: Short, options: tuple[str, ...]
) -> None:
    run = short.serve(*options)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("a") for client in clients] == ["a 1 of 1"] * 3
    short.write(2)
    assert reload(run).returncode == 0
    assert [client.ask("b") for client in clients] == ["b 2 of 2"] * 3
    assert crash(servers, run).close_code() == 1011
    assert [client.ask("c") for client in clients] == ["c 3 of 2"] * 3
    assert [path.name for path in short.disk.iterdir()] == []
    assert servers.stop(run) == 0


@pytest.mark.root
@WAYS
def test_L8_who_is_written_down_before_the_disk_is_full_outlives_a_crash(
    servers: Servers, short: Short, options: tuple[str, ...]
) -> None:
    run = short.serve(*options)
    known = servers.connect()
    assert known.ask("a") == "a 1 of 1"
    short.fill()
    assert known.ask("b") == "b 2 of 1"
    assert crash(servers, run).close_code() == 1011
    assert known.ask("c") == "c 3 of 1"
    newcomer = servers.connect()
    assert newcomer.ask("a") == "a 1 of 1"
    assert "1 connections go on after the crash" in run.err
    assert servers.stop(run) == 0


@pytest.mark.root
@WAYS
def test_L2_when_the_disk_is_full_a_reload_is_refused_and_everybody_stays(
    servers: Servers, short: Short, options: tuple[str, ...]
) -> None:
    run = short.serve(*options)
    client = servers.connect()
    assert client.ask("a") == "a 1 of 1"
    short.fill()
    short.write(2)
    why = f"not reloaded: connections can't be carried over: {NO_ROOM}"
    done = reload(run)
    assert (done.returncode, done.stderr) == (1, f"dorrit: {run.path}: {why}\n")
    assert client.ask("b") == "b 2 of 1"
    (short.disk / "fill").unlink()
    assert reload(run).returncode == 0
    assert client.ask("c") == "c 3 of 2"
    assert servers.stop(run) == 0


@pytest.mark.root
@WAYS
def test_L2_when_the_stop_handler_fills_the_disk_the_new_code_serves_and_clients_are_told(
    servers: Servers, short: Short, options: tuple[str, ...]
) -> None:
    (servers.directory / "fills").touch()
    run = short.serve("--resume-timeout", "1", *options)
    clients = [servers.connect() for _ in range(3)]
    assert [client.ask("a") for client in clients] == ["a 1 of 1"] * 3
    short.write(2)
    done = subprocess.Popen([str(word) for word in dorrit("reload", run.path)])
    assert [client.close_code() for client in clients] == [1012] * 3
    assert done.wait(TIMEOUT) == 0
    assert f"without its connections, which can't be carried over: {NO_ROOM}" in run.err
    newcomer = servers.connect()
    assert newcomer.ask("b") == "b 1 of 2"
    time.sleep(LEAST + 1)  # after that a start that has not come to its end would be given up
    assert newcomer.ask("c") == "c 2 of 2"
    assert " ERROR " not in run.err.replace("ERROR the server is reloaded without", "")
    (servers.directory / "fills").unlink()
    assert servers.stop(run) == 0


@pytest.mark.root
def test_R29_a_server_that_starts_on_a_full_disk_serves_and_says_what_it_lacks(
    servers: Servers, short: Short
) -> None:
    short.fill()
    run = short.serve()
    assert servers.connect().ask("a") == "a 1 of 1"
    assert f"WARNING no connection will outlive a crash: [Errno 28] {NO_ROOM}" in run.err
    assert f"WARNING a crash will end the server: [Errno 28] {NO_ROOM}" in run.err
    assert servers.stop(run) == 0


@WAYS
def test_L1_L3_at_the_limit_of_descriptors_there_are_some_for_a_restart(
    servers: Servers, options: tuple[str, ...]
) -> None:
    file = servers.directory / "server.py"
    file.write_text(SERVER)
    environment = os.environ | {"TMPDIR": str(servers.directory)}
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); "
    limited += "os.execv(sys.argv[1], sys.argv[1:])"
    command = servers.command(f"{file}:app", *options)
    run = servers.start(sys.executable, "-c", limited, *command, env=environment).until_listening()
    assert "there will be 50 at the most: raise it (ulimit -n)" in run.err
    clients = [servers.connect() for _ in range(60)]
    assert [client.status for client in clients] == [101] * 50 + [503] * 10
    for client in clients[50:]:
        client.socket.close()
    del clients[50:]
    assert [client.ask("a") for client in clients] == ["a 1 of 1"] * 50
    file.write_text(SERVER.replace("VERSION = 1", "VERSION = 2"))
    done = reload(run)
    assert done.returncode == 0, done.stderr
    assert [client.ask("b") for client in clients] == ["b 2 of 2"] * 50
    clients.pop().send("crash")
    run.until_logged("49 connections go on after the crash")
    assert [client.ask("c") for client in clients] == ["c 3 of 2"] * 49
    status = servers.run(*dorrit("status", run.path))
    assert status.process.returncode == 0, status.err
    assert "will outlive" not in run.err
    assert servers.stop(run) == 0
