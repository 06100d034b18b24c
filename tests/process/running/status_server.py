"""A daemon in all but serving, for the tests of those who look for one: a program of its own.

It stays a child of the test. Arguments: the directory for the pid file, the server's name, the path
of its socket, and words:

pid         makes the pid file
record      makes the record for `dorrit restart`: this command
nobody      drops root's privileges
linger      stops at the second SIGTERM only, and says of each that it has taken it
busy        computes for a while after each answer: Python takes all SIGTERMs of that time as one
lie         claims in its pid file, and in its status, that it is process 1
janitor     has a janitor remove its files
hasty       does not wait for it
heir        forks a process that answers in its place, with its pid, and ends
"""

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from dorrit.process.control.status import Status
from dorrit.process.control.status_socket import StatusSocket
from dorrit.process.files.command_file import Record, RecordFile
from dorrit.process.files.janitor import Janitor
from dorrit.process.files.paths import command_path, command_path_beside, status_path
from dorrit.process.files.pidfile import PidFile
from dorrit.process.running import check_request

NOBODY = 65534
STARTED = 1_700_000_000.5


def main(directory: str, name: str, path: str, *words: str) -> None:
    terms: list[None] = []

    def take(*_: object) -> None:
        terms.append(None)
        if "linger" in words:
            os.write(1, f"took SIGTERM {len(terms)}\n".encode())

    signal.signal(signal.SIGTERM, take)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)

    files: list[PidFile | RecordFile | StatusSocket] = []
    pid_file = None
    if "pid" in words:
        pid_file = PidFile(name, directory)
        files.append(pid_file)
    if "record" in words:
        file = command_path(name, directory) if "pid" in words else command_path_beside(path)
        record = Record(
            name=name,
            socket=path,
            command=(sys.executable, *sys.orig_argv[1:]),
            directory=str(Path.cwd()),
        )
        files.append(RecordFile(file, record))
    nobody = NOBODY if "nobody" in words else -1
    status_socket = StatusSocket(status_path(path), nobody, nobody)
    files.append(status_socket)
    janitor = None
    if "janitor" in words:
        locks = [] if pid_file is None else [pid_file.lock.descriptor]
        janitor = Janitor(name, [file.path for file in files], locks)
    if pid_file is not None:
        pid_file.write()
        if "lie" in words:
            Path(pid_file.path).write_text("1\n")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    if nobody != -1:
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)

    def describe() -> Status:
        return Status(
            name=name, pid=1 if "lie" in words else pid, user="somebody", group="users",
            socket=path, started=STARTED, connections=7, restarts=2, version="9.8.7",
        )  # fmt: skip

    pid = os.getpid()
    status_socket.listen(describe)
    if "heir" in words and os.fork():
        os._exit(0)
    print("ready", flush=True)
    while len(terms) < (2 if "linger" in words else 1):
        readable, _, _ = select.select([status_socket.descriptor, reading], [], [])
        if status_socket.descriptor in readable:
            status_socket.answer()
            if "busy" in words:
                sum(range(40_000_000))
        if reading in readable:
            os.read(reading, 100)
    print(f"stopping after {len(terms)}", flush=True)
    time.sleep(0.05)
    Path(path).unlink(missing_ok=True) if nobody == -1 else None
    for made in reversed(files):
        made.close()
    if janitor is not None and "hasty" not in words:
        janitor.finish()


if __name__ == "__main__":
    asked = check_request.received()
    if asked is not None:
        os.write(asked, check_request.PASSED)
        sys.exit()
    main(*sys.argv[1:])
