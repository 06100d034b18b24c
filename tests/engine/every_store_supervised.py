"""A supervised server whose worker is killed at any store to its ledger.

What `tests.engine.every_store` does to a process that crashes, `python -m
tests.engine.every_store_supervised N` does to a worker: the supervisor keeps the connections, hears
what the worker has said before its end, and gives both to the next one, with the ledger. That one
is killed at each of its stores as well, some times, before it has come to serve.
"""

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from tests.engine.every_store import SETTINGS, Scene, descriptors, main
from tests.engine.test_roster import Served, Supervisor
from tests.support.harness import Client


class Worker(Served):
    """A worker of a scene's supervisor."""

    def __init__(self, scene: "SupervisedScene", ledger: int | None = None) -> None:
        scene.workers.append(self)  # it may be killed before it has been made
        super().__init__(scene.supervisor, ledger, **SETTINGS)
        self.scene = scene
        self.message_callback = scene.heard

    def connect(self) -> Client:
        """A client that the supervisor has accepted, for whom the kernel keeps little."""
        descriptor = self.supervisor.accepted()
        client = self.supervisor.clients[-1]
        client.harness = self
        self.clients.append(client)
        self.scene.sockets[os.fstat(descriptor).st_ino] = descriptor
        with socket.socket(fileno=os.dup(descriptor)) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return client


class SupervisedScene(Scene):
    """The conversation with a supervisor.

    Attributes:
        directory: Where sockets may be.
        supervisor: It.
        workers: Those that there have been, the last of which serves.
        sockets: The supervisor's ends of connections: inodes, and the descriptors.
    """

    directory: ClassVar[Path]

    def begin(self) -> tuple[Worker, int]:
        own = self.directory / str(os.getpid())
        own.mkdir()
        self.supervisor = Supervisor(own)
        self.workers: list[Worker] = []
        self.sockets: dict[int, int] = {}
        first = Worker(self)
        return first, first.kept

    def leave(self) -> None:
        """End the worker as SIGKILL would: the kernel closes what it has."""
        self.workers[-1].worker.let_go()
        for descriptor in descriptors():
            ours = self.sockets.get(os.fstat(descriptor).st_ino, descriptor)
            if descriptor != ours:
                os.close(descriptor)
        ends = len(self.supervisor.ends)
        self.supervisor.poll(3)
        assert self.supervisor.ends[ends:] == [True]

    def follow(self) -> Worker:
        return Worker(self, self.file)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dorrit-", dir="/tmp") as name:
        SupervisedScene.directory = Path(name)
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, SupervisedScene)
