"""A server that runs the Python code that it is sent, for the tests of restarts.

It accepts one client after the other, as a program of its own::

    python restart_server.py SOCKET [--init CODE] [--wait] [--user NUMBER] [--daemon]

A client sends code and ends its direction; what the code has put into ``answer`` comes back. What
would be logged is appended to SOCKET.log.
"""

import argparse
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from dorrit.process.crash import restart, stacks
from dorrit.process.exec.backoff import wait_after_crash
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import Handover

# ---- Faults: each in a function of its own, whose name the traceback has -------------------------


def null_dereference() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def stack_overflow() -> None:
    faulthandler._stack_overflow()


def division_by_zero() -> None:
    faulthandler._sigfpe()


def bus_error() -> None:
    import mmap
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        mapped[0]


def illegal_instruction() -> None:
    import mmap
    import platform

    codes = {"x86_64": b"\x0f\x0b", "amd64": b"\x0f\x0b", "aarch64": b"\0" * 4, "arm64": b"\0" * 4}
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(codes[platform.machine().lower()])
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def fatal_error() -> None:
    ctypes.pythonapi.Py_FatalError(b"the test wants it")


def in_another_thread() -> None:
    thread = threading.Thread(target=null_dereference)
    thread.start()
    thread.join()


def overflow_in_thread() -> None:
    thread = threading.Thread(target=stack_overflow)
    thread.start()
    thread.join()


def overflow_in_thread_of_a_subclass() -> None:
    class Thread(threading.Thread):
        def run(self) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            stack_overflow()

    thread = Thread(daemon=True)
    thread.start()
    thread.join()


def overflow_in_to_thread() -> None:
    import asyncio

    asyncio.run(asyncio.to_thread(stack_overflow))


def overflow_in_executor() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(abs, range(100)):
            pass
        pool.submit(stack_overflow).result()


def overflow_in_bare_thread() -> None:
    import _thread

    _thread.start_new_thread(stack_overflow, ())
    threading.Event().wait()


def overflow_in_thread_that_blocks_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # which it inherits
    overflow_in_thread()


# ---- The server ----------------------------------------------------------------------------------


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path = options.socket
        self.handover: Handover
        self.restarter: restart.Restarter
        self.log_file = os.open(
            f"{self.path}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
        )

    def log(self, *lines: str) -> None:
        os.write(self.log_file, "".join(f"{line}\n" for line in lines).encode())

    def prepare(self) -> None:
        self.restarter = restart.prepare(
            self.handover, self.command, report=self.log_file, prefix="handler: "
        )
        self.log(*self.restarter.warnings)

    def run(self) -> None:
        handover = restart.inherited()
        self.command = Command.current()
        if handover is not None:
            self.handover = handover
            self.log(*handover.report())
            if self.options.wait:
                self.back_off()
        signal.signal(signal.SIGTERM, self.stop)
        restart.release_signals()
        if handover is not None:
            self.prepare()
        exec(self.options.init, globals() | {"server": self})
        if handover is None:
            self.start()
        self.listener = socket.socket(fileno=os.dup(self.handover.listener))
        os.chdir("/")
        self.prepare()
        self.log("ready")
        while True:
            self.serve_one()

    def start(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        Path(self.path).chmod(0o777)
        listener.listen(4096)
        os.fchmod(self.log_file, 0o666)  # the next image may be another user's
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        if self.options.daemon:
            become_daemon()
        if self.options.user is not None:
            os.setgroups([])
            os.setresgid(*[self.options.user] * 3)
            os.setresuid(*[self.options.user] * 3)
        self.handover = Handover(
            name="test", socket=self.path, listener=listener.detach(), kept={"lock": lock}
        )

    def back_off(self) -> None:
        self.log(f"due {wait_after_crash(self.handover.crash_score):.2f}")
        seconds = self.handover.delay()
        if seconds:
            self.log(restart.waiting(seconds, self.handover.restarts))
        if restart.wait(seconds) is not None:
            self.stop()

    def stop(self, *_: object) -> NoReturn:
        if hasattr(self, "restarter"):
            self.restarter.disarm()
        Path(self.path).unlink()
        self.log("stopped")
        sys.exit(0)

    def serve_one(self) -> None:
        client, _ = self.listener.accept()
        with client:
            code = b""
            while data := client.recv(65536):
                code += data
            names: dict[str, Any] = globals() | {"server": self, "answer": ""}
            exec(code, names)
            client.sendall(str(names["answer"]).encode())


def become_daemon() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--init", default="")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--user", type=int)
    parser.add_argument("--daemon", action="store_true")
    with stacks.covered_threads():
        Server(parser.parse_args()).run()


if __name__ == "__main__":
    main()
