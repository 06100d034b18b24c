"""The servers that are soaked: `plain` has dorrit's own loop, `asynchronous` that of asyncio.

Both echo, as the one of `five_functions.py` does. A text that begins with ``!`` is a command to the
server itself: the name of a method of `House`, and words for it. What ``-f`` names is a fault that
is put in, so that a test can see it found.
"""

import asyncio
import ctypes
import gc
import json
import linecache
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol, TypeVar

import dorrit
from dorrit import Connection, Reject, Server

IMAGE = secrets.token_hex(8)
"""Another one in each image of the process, of which a crash makes a new one."""

LISTENING = "/listening"
"""The path of clients that have all broadcasts."""

Message = TypeVar("Message", str, bytes)

kept: list[object] = []
"""What is left behind by a fault that is put in."""


class Planned(Exception):  # noqa: N818 - it is none
    """What handlers raise here, and nothing else."""


class Clients(Protocol):
    """What commands ask of the server."""

    @property
    def connections(self) -> Collection[Connection]: ...

    def broadcast(self, hearing: list[Connection], text: str) -> int: ...


class House:
    """What the commands of a server share.

    Attributes:
        app: The server, or what of it there is.
        opened: Clients that this image has taken in.
        ticks: Calls of the periodic function.
        echoed: Messages that have come back.
        accepted: How many messages of a flood found room, by its name.
        held: The tasks of handlers that wait until somebody cancels them.
    """

    def __init__(self, app: Clients) -> None:
        self.app = app
        self.opened = 0
        self.ticks = 0
        self.echoed = 0
        self.accepted: dict[str, int] = {}
        self.held: dict[str, asyncio.Task[Any]] = {}

    def admit(self, conn: Connection) -> object:
        """What both open handlers do."""
        path = conn.request.path
        conn.data = path
        self.opened += 1
        if dorrit.ws_config_file == "memory":
            kept.append([bytearray(100) for _ in range(10)])
        if dorrit.ws_config_file == "descriptor" and self.opened % 100 == 0:
            kept.append(os.dup(0))
        if path == "/rejected":
            raise Reject(403, body="not you\n")
        if path == "/raising":
            raise Planned("in the open handler")
        if path == "/welcomed":
            conn.send("welcome")
        return path != "/unwanted"

    def dismiss(self, conn: Connection) -> None:
        if conn.data == "/raising-later":
            raise Planned("in the close handler")

    def echoed_as(self, message: Message) -> Message:
        """What comes back: the same."""
        self.echoed += 1
        if dorrit.ws_config_file == "order" and self.echoed > 300:
            return message[::-1]
        return message

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks % 100 == 0:
            raise Planned("in the periodic function")

    # The commands that a plain handler can follow

    def state(self, conn: Connection) -> None:
        """Say what there is, when all that can be collected has been.

        The lines of source files that tracebacks have shown are a cache of Python's.
        """
        linecache.clearcache()
        gc.collect()
        state = {
            "image": IMAGE,
            "pid": os.getpid(),
            "connections": len(self.app.connections),
            "ticks": self.ticks,
            "blocks": sys.getallocatedblocks(),
        }
        conn.send("state " + json.dumps(state))

    def broadcast(self, conn: Connection, text: str) -> None:
        """Have all that listen hear it, and say how many those are."""
        hearing = [other for other in self.app.connections if other.data == LISTENING]
        conn.send(f"told {self.app.broadcast(hearing, text)}")

    def flood(self, conn: Connection, name: str, count: str, size: str) -> None:
        """Send more than a client takes that reads nothing."""
        payload = "x" * int(size)
        sent = (conn.send(f"{number} {payload}") for number in range(int(count)))
        self.accepted[name] = sum(sent)

    def flooded(self, conn: Connection, name: str) -> None:
        conn.send(f"accepted {self.accepted.pop(name, None)}")

    def fail(self, conn: Connection) -> None:
        raise Planned("in the message handler")

    def close(self, conn: Connection, code: str) -> None:
        conn.close(int(code), "as you like")

    def abort(self, conn: Connection) -> None:
        conn.abort()

    def fork(self, conn: Connection) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        conn.send(f"child {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")

    def fork_and_return(self, conn: Connection) -> None:
        """The child would go on as the server, and is ended."""
        pid = os.fork()
        if pid != 0:
            conn.send(f"child {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")

    def execute(self, conn: Connection) -> None:
        conn.send(f"child {subprocess.run(['/bin/sh', '-c', 'exit 3'], check=False).returncode}")

    def thread(self, conn: Connection) -> None:
        def speak() -> None:
            assert isinstance(self.app, Server)
            self.app.call_soon_threadsafe(conn.send, "from a thread")

        threading.Thread(target=speak).start()

    def crash(self, conn: Connection, way: str) -> None:
        """End this image of the process as a fault in a C library would."""
        if way == "null":
            ctypes.string_at(0)
        elif way == "abort":
            os.abort()
        else:
            os.kill(os.getpid(), signal.SIGSEGV)

    # Those that take an event loop

    async def fail_later(self, conn: Connection) -> None:
        await asyncio.sleep(0.001)
        raise Planned("in the message handler, after a while")

    async def hold(self, conn: Connection, name: str) -> None:
        """Wait until somebody cancels this."""
        task = asyncio.current_task()
        assert task is not None
        self.held[name] = task
        await asyncio.sleep(3600)

    async def cancel(self, conn: Connection, name: str) -> None:
        while name not in self.held:  # noqa: ASYNC110 - it comes soon
            await asyncio.sleep(0.001)
        self.held.pop(name).cancel()
        conn.send("cancelled")

    async def execute_beside(self, conn: Connection) -> None:
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 4")
        conn.send(f"child {await child.wait()}")

    async def to_thread(self, conn: Connection) -> None:
        conn.send(await asyncio.to_thread(lambda: "from a thread"))

    async def stream(self, conn: Connection, count: str, size: str) -> None:
        """Send more than the queue holds to a client that reads, as fast as it reads."""
        payload = "x" * int(size)
        for number in range(int(count)):
            assert conn.send(f"{number} {payload}") or not conn.is_open
            await conn.drain()

    async def task(self, conn: Connection) -> None:
        """Leave the answer to a task that outlives the handler."""

        async def answer() -> None:
            await asyncio.sleep(0.002)
            conn.send("from a task")
            self.held.pop(name)

        name = secrets.token_hex(8)
        self.held[name] = asyncio.create_task(answer())

    def follow(self, conn: Connection, message: str) -> Awaitable[None] | None:
        """Do what a command says."""
        name, *words = message[1:].split()
        deed: Callable[..., Awaitable[None] | None] = getattr(self, name)
        return deed(conn, *words)


def is_command(message: str | bytes) -> bool:
    return isinstance(message, str) and message.startswith("!")


def _make_plain() -> Server:
    app = Server("plain", event_loop="asyncio")
    house = House(app)
    app.on_open(house.admit)
    app.on_close(lambda conn, code, reason: house.dismiss(conn))
    app.every(0.05)(house.tick)

    @app.on_message
    def said(conn: Connection, message: str | bytes) -> None:
        if is_command(message):
            house.follow(conn, str(message))
        else:
            conn.send(house.echoed_as(message))

    return app


def _make_asynchronous() -> Server:
    app = Server("asynchronous", event_loop="asyncio")
    house = House(app)

    @app.on_open
    async def came(conn: Connection) -> object:
        await asyncio.sleep(0)
        return house.admit(conn)

    @app.on_message
    async def said(conn: Connection, message: str | bytes) -> None:
        if is_command(message):
            answer = house.follow(conn, str(message))
            if answer is not None:
                await answer
        else:
            if len(message) % 3 == 0:
                await asyncio.sleep(0)
            conn.send(house.echoed_as(message))

    @app.on_close
    async def left(conn: Connection, code: int, reason: str) -> None:
        await asyncio.sleep(0)
        house.dismiss(conn)

    @app.every(0.05)
    async def tick() -> None:
        await asyncio.sleep(0)
        house.tick()

    return app


plain = _make_plain()
asynchronous = _make_asynchronous()
