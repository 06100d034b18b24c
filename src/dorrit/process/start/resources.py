"""What a server holds in the file system from its start to its end: socket, pid file, locks."""

import os
import stat
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Self

from dorrit.errors import StartError
from dorrit.process.control.status_socket import StatusSocket
from dorrit.process.credentials.privileges import Identity
from dorrit.process.exec.command import Command
from dorrit.process.exec.handover import Handover
from dorrit.process.files.command_file import Record, RecordFile
from dorrit.process.files.janitor import Janitor
from dorrit.process.files.listener import Listener
from dorrit.process.files.paths import (
    UNNAMED,
    command_path,
    command_path_beside,
    socket_path,
    status_path,
)
from dorrit.process.files.pidfile import PidFile
from dorrit.process.start import activation

SOCKET_LOCK: Final = "lock of the socket"
STATUS_SOCKET: Final = "status socket"
JANITOR: Final = "connection to the janitor"
READINESS: Final = "word to the command that waits"
"""What they are called in a handover."""


class ResourcePlan(NamedTuple):
    """What a server that starts wants to hold.

    Attributes:
        name: What it has called itself, or None.
        listen: Path of the socket that the command line names, or None.
        given: Descriptor of the socket that a service manager has handed over, or None.
        identity: Who will own the sockets.
        command: How it was started, which `dorrit restart` will want to know; None if it stays in
            the foreground: then it has neither a record nor a pid file.
    """

    name: str | None
    listen: str | None
    given: int | None
    identity: Identity
    command: Command | None

    @property
    def path(self) -> str:
        """Path of the listening socket (R25).

        Raises:
            StartError: The command line says another one than the service manager.
        """
        if self.given is None:
            return self.listen or socket_path(self.name)
        path = activation.path_of(self.given)
        if self.listen not in {None, path}:
            raise StartError(
                f"-l {self.listen}: the service manager hands over another socket, {path}; leave "
                "out -l, or have both say the same",
                status=2,
            )
        return path

    @property
    def socket_group(self) -> int:
        """The group of the sockets; -1: as the system makes them."""
        named = self.identity.socket_group
        if named is not None:
            return named
        try:
            directory_mode = Path(self.path).parent.stat().st_mode
        except OSError:  # which is said when the socket is made
            return -1
        # inode(7): in a directory with the set-group-ID bit, a file has the directory's group. That
        # is its owner's wish.
        return -1 if directory_mode & stat.S_ISGID else self.identity.gid


class ResourcesOfSupervisor:
    """What a worker knows of what its supervisor holds in the file system.

    Attributes:
        name: The server's.
        path: That of the listening socket.
    """

    def __init__(self, name: str, path: str) -> None:
        """Take what there is to know."""
        self.name = name
        self.path = path

    def keep_record(self) -> None:
        """Do nothing: the supervisor keeps it."""

    def leave_open(self) -> None:
        """Do nothing: there is nothing."""

    def close(self) -> None:
        """Do nothing: all of it is the supervisor's."""

    def let_go(self) -> None:
        """Do nothing, in a process that was forked off the worker."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing."""


class Resources:
    """The listening socket, and what stands beside it.

    Attributes:
        name: The server's.
        listener: The listening socket.
        status_socket: What answers `dorrit status`.
        pid_file: Only of a daemon that root has started (R24).
        record: Only of a daemon.
        janitor: Removes the files of a server that can't do so itself; see `start_janitor`.
    """

    pid_file: PidFile | None = None
    record: RecordFile | None = None
    janitor: Janitor | None = None
    _record_stays = False

    def __init__(self, plan: ResourcePlan) -> None:
        """Make them, as who the process still is. Nobody can connect yet.

        Raises:
            StartError: One of them can't be made; then none is left.
        """
        self.name: str = plan.name or UNNAMED[0]
        self._owner = os.getpid()
        with ExitStack() as made:
            daemon, path = plan.command, plan.path
            # The pid file first, since its lock is the name's, and gone last.
            if daemon is not None and os.geteuid() == 0:
                self.pid_file = made.enter_context(PidFile(self.name))
            uid, gid = plan.identity.uid, plan.socket_group
            if plan.given is None:
                self.listener: Listener = made.enter_context(Listener(path, uid, gid))
            else:
                self.listener = made.enter_context(Listener.given(plan.given, path))
            self.status_socket: StatusSocket = made.enter_context(
                StatusSocket(status_path(path), uid, gid)
            )
            if daemon is not None:
                file = self._record_path(path)
                self.record = made.enter_context(RecordFile(file, self._record_of(daemon, path)))
            self._made = made.pop_all()

    @classmethod
    def adopt(cls, handover: Handover, *, daemon: bool) -> Self:
        """Go on with what the previous image has left in the same process (R29).

        Args:
            handover: What it has left.
            daemon: The process is a daemon.

        Raises:
            StartError: Something of it is lost.
        """
        resources = cls.__new__(cls)
        resources._take(handover, daemon=daemon)  # noqa: SLF001 - its own
        return resources

    def _take(self, handover: Handover, *, daemon: bool) -> None:
        self.name = handover.name
        self._owner = os.getpid()
        self._made = ExitStack()
        kept = handover.kept
        if handover.pid_file is not None and handover.pid_descriptor is not None:
            directory = Path(handover.pid_file).parent
            self.pid_file = PidFile.adopt(handover.pid_descriptor, self.name, directory)
            self._made.enter_context(self.pid_file)
        self.listener = self._made.enter_context(
            Listener.adopt(handover.listener, handover.socket, kept.get(SOCKET_LOCK))
        )
        if STATUS_SOCKET not in kept:
            raise StartError(f"{handover.socket}: the status socket was not handed over")
        self.status_socket = self._made.enter_context(
            StatusSocket.adopt(kept[STATUS_SOCKET], status_path(handover.socket))
        )
        if daemon:
            file = self._record_path(handover.socket)
            self.record = self._made.enter_context(RecordFile.adopt(file))
        if JANITOR in kept:
            self.janitor = Janitor.adopt(kept[JANITOR])

    def _record_path(self, listening: str) -> str:
        if self.pid_file is not None:
            return command_path(self.name, Path(self.pid_file.path).parent)
        return command_path_beside(listening)

    def _record_of(self, command: Command, path: str) -> Record:
        words = (command.program, *command.arguments)
        return Record(name=self.name, socket=path, command=words, directory=command.directory)

    def own(self) -> None:
        """Make the calling process their owner: the daemon, when it has been forked."""
        self._owner = os.getpid()
        self.listener.own()
        if self.pid_file is not None:
            self.pid_file.write()

    @property
    def path(self) -> str:
        """That of the listening socket."""
        return self.listener.path

    @property
    def paths(self) -> list[str]:
        """What stands in the file system because of them, in the order in which it goes.

        The socket first: until then nobody answers there. The locks last.
        """
        paths = [self.status_socket.path]
        if self.record is not None:
            paths.append(self.record.path)
        if self.listener.lock is not None:
            paths = [self.listener.path, *paths, self.listener.lock.path]
        if self.pid_file is not None:
            paths.append(self.pid_file.path)
        return paths

    def start_janitor(self) -> Janitor:
        """Have the files removed when this process has ended, though it may not do so itself.

        To be called in the process that serves, before privileges are dropped.

        Returns:
            The janitor.

        Raises:
            StartError: It can't be started.
        """
        held = [
            of.lock.descriptor
            for of in (self.listener, self.pid_file)
            if of is not None and of.lock is not None
        ]
        record_path = [] if self.record is None else [self.record.path]
        paths = [path for path in self.paths if path not in record_path]
        self.janitor = Janitor(self.name, paths, held, if_told=record_path)
        return self.janitor

    def keep_record(self) -> None:
        """Have the record stay when the server ends, as it does when it is killed."""
        self._record_stays = True
        if self.record is not None:
            self.record.keep()

    def handover(self) -> Handover:
        """Return what the next image needs to go on with them."""
        kept = {STATUS_SOCKET: self.status_socket.descriptor}
        if self.listener.lock is not None:
            kept[SOCKET_LOCK] = self.listener.lock.descriptor
        if self.janitor is not None:
            kept[JANITOR] = self.janitor.descriptor
        return Handover(
            name=self.name,
            socket=self.listener.path,
            listener=self.listener.descriptor,
            pid_file=None if self.pid_file is None else self.pid_file.path,
            pid_descriptor=None if self.pid_file is None else self.pid_file.lock.descriptor,
            kept=kept,
            first_start=time.time(),
            daemon=self.record is not None,
        )

    def leave_open(self) -> None:
        """Let the descriptors outlive this object, and the interpreter: the next image has them."""
        self.listener.leave_open()
        self.status_socket.leave_open()

    def close(self) -> None:
        """Remove them, and free their locks last. A process forked off the owner does nothing."""
        if os.getpid() != self._owner:
            return
        self._made.close()
        if self.janitor is not None:
            self.janitor.finish(told=not self._record_stays)

    def let_go(self) -> None:
        """Leave them to their owner, in a process that was forked off that."""
        self.listener.let_go()
        self.status_socket.let_go()
        if self.pid_file is not None:
            self.pid_file.lock.let_go()
        if self.janitor is not None:
            self.janitor.let_go()

    def __enter__(self) -> Self:
        """Return them."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove them."""
        self.close()
