"""The ways in which Python code makes a process; for servers, and for plain programs beside them.

Each returns the pid of a process that sleeps for an hour.
"""

import asyncio
import concurrent.futures.process
import concurrent.futures.thread
import importlib
import multiprocessing.pool
import os
import pty
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

for _module in ("popen_fork", "queues", "synchronize"):
    # What is imported only when it is used, when a daemon may have no right to read it any more.
    importlib.import_module(f"multiprocessing.{_module}")

HOUR = 3600
SLEEP = ["/bin/sleep", str(HOUR)]

kept: list[object] = []
"""What would end its process if it were freed."""


def sleep() -> NoReturn:
    """What a forked process does."""
    status = 1
    try:
        time.sleep(HOUR)
    finally:
        os._exit(status)


def fork() -> int:
    return os.fork() or sleep()


def fork_and_exec() -> int:
    return os.fork() or os.execv(SLEEP[0], SLEEP)


def fork_in_a_thread() -> int:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(fork).result()


def pty_fork() -> int:
    pid, terminal = pty.fork()
    kept.append(terminal)
    return pid or sleep()


def orphan() -> int:
    """A process whose parent has ended, in a session of its own."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        os.write(writing, b"%d" % (os.fork() or sleep()))
        os._exit(0)
    os.waitpid(between, 0)
    pid = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    return pid


def process(method: str, *, daemon: bool = False) -> Callable[[], int]:
    def start() -> int:
        context: Any = multiprocessing.get_context(method)
        made = context.Process(target=time.sleep, args=(HOUR,), daemon=daemon)
        made.start()
        kept.append(made)
        return int(made.pid)

    return start


def pool() -> int:
    made = multiprocessing.get_context("fork").Pool(1)
    kept.append(made)
    pid = made.apply(os.getpid)
    made.apply_async(time.sleep, (HOUR,))
    return pid


def executor() -> int:
    context = multiprocessing.get_context("fork")
    made = concurrent.futures.ProcessPoolExecutor(1, context)
    kept.append(made)
    pid = made.submit(os.getpid).result()
    made.submit(time.sleep, HOUR)
    return pid


def popen(**settings: Any) -> Callable[[], int]:
    def start() -> int:
        made = subprocess.Popen(SLEEP, **settings)
        kept.append(made)
        return made.pid

    return start


def posix_spawn() -> int:
    return os.posix_spawn(SLEEP[0], SLEEP, os.environ)


async def asyncio_subprocess() -> int:
    made = await asyncio.create_subprocess_exec(*SLEEP)
    kept.append(made)
    return made.pid


FORKED: dict[str, Callable[[], int]] = {
    "os.fork": fork,
    "os.fork in a thread": fork_in_a_thread,
    "pty.fork": pty_fork,
    "orphan": orphan,
    "Process": process("fork"),
    "daemonic Process": process("fork", daemon=True),
    "Pool": pool,
    "ProcessPoolExecutor": executor,
}
"""Those that are copies of the process."""

EXECUTED: dict[str, Callable[[], int] | Callable[[], Awaitable[int]]] = {
    "os.fork, exec": fork_and_exec,
    "Popen": popen(),
    "Popen, close_fds=False": popen(close_fds=False),
    "Popen, start_new_session": popen(start_new_session=True),
    "Popen, preexec_fn": popen(preexec_fn=os.getpid),
    "posix_spawn": posix_spawn,
    "spawned Process": process("spawn"),
    "forkserver": process("forkserver"),
    "create_subprocess_exec": asyncio_subprocess,
}
"""Those that run another program."""

WAYS = {**FORKED, **EXECUTED}
PLAIN = [way for way in WAYS if way != "create_subprocess_exec"]
"""Those that need no event loop."""
