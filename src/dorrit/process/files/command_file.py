"""How a daemon was started, for ``dorrit restart``: in a file, ``NAME.command``.

``dorrit restart`` runs what it says, so only a file is believed that nobody but the one who runs it
could have written. The server itself is not asked, nor /proc/PID/cmdline read: both are in the
hands of whoever takes over the server, and root would then run what the server's user wishes. So
root writes the file before privileges are dropped, and keeps no descriptor of it.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from dorrit.errors import StartError
from dorrit.process.files.directories import check_directory

MODE: Final = 0o600

SIZE_MAX: Final = 1 << 17
"""Bytes; a longer command line than Linux allows one word to be."""


class Record(NamedTuple):
    """What was run.

    Attributes:
        name: The server's name.
        socket: Path of its listening socket.
        command: The program's absolute path, and its arguments.
        directory: Where it was run; absolute.
    """

    name: str
    socket: str
    command: tuple[str, ...]
    directory: str


class RecordFile:
    """In the server: the file, from its start to its end.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: str, record: Record) -> None:
        """Write it, in the place of one that was left over; as root, if the server is started so.

        Args:
            path: Absolute; see `dorrit.process.files.paths`. The lock of the pid file or of the
                socket must be held: it is what keeps two servers from writing the same.
            record: What to write.

        Raises:
            StartError: It can't be written there.
        """
        self.path = path
        self._identity: tuple[int, int] | None = None
        file = Path(path)
        check_directory(file.parent)
        _check_place(file)
        with _written(file, record) as new:
            status = new.lstat()
            new.replace(file)
        self._identity = status.st_dev, status.st_ino

    @classmethod
    def adopt(cls, path: str) -> Self:
        """Go on with the file of the previous image in the same process (R29).

        Args:
            path: What was `path` there.
        """
        adopted = cls.__new__(cls)
        adopted.path, adopted._identity = path, None  # noqa: SLF001 - its own
        with suppress(OSError):
            status = os.lstat(path)
            adopted._identity = status.st_dev, status.st_ino  # noqa: SLF001 - its own
        return adopted

    def close(self) -> None:
        """Remove it, unless it has become somebody else's.

        Where the privileges to remove it have been dropped it stays: that's the janitor's work.
        """
        if self._identity is None:
            return
        with suppress(OSError):
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == self._identity:
                Path(self.path).unlink()
        self._identity = None

    def keep(self) -> None:
        """Leave it where it is, for a restart."""
        self._identity = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()


def read(path: str) -> Record:
    """Read the file of a server.

    Args:
        path: Absolute.

    Raises:
        StartError: There is none, or it may have been written by somebody else than the current
            user.
    """
    check_directory(Path(path).parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            data = opened.read(SIZE_MAX + 1) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        raise StartError(
            f"{path}: there is no such file, which a daemon makes; a server in the foreground is "
            "restarted by whoever started it"
        ) from None
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_nlink != 1
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise StartError(f"{path}: somebody else may have written this; its command was not run")
    try:
        return _record_of(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StartError(f"{path}: damaged; its command was not run") from None


def put_back(path: str, record: Record) -> None:
    """Write the file of a server that does not run, unless there is one.

    Args:
        path: Absolute.
        record: What to write.

    Raises:
        StartError: It can't be written there.
    """
    file = Path(path)
    check_directory(file.parent)
    with _written(file, record) as new, suppress(FileExistsError):
        os.link(new, file)


@contextmanager
def _written(file: Path, record: Record) -> Iterator[Path]:
    """Give a file with the text of a record, beside where it shall be; it is removed after that."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, MODE)
        with os.fdopen(descriptor, "wb") as opened:
            os.fchmod(descriptor, MODE)  # whatever the umask
            opened.write(json.dumps(record._asdict()).encode("ascii") + b"\n")
        yield new
    except OSError as error:
        raise StartError(f"{file}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _record_of(data: bytes) -> Record:
    values: Any = json.loads(data)
    words = tuple(values["command"])
    texts = (values["name"], values["socket"], values["directory"], *words)
    if not words or not all(
        isinstance(text, str) and text and "\0" not in text for text in texts[:3]
    ):
        raise ValueError
    if not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError
    if not (words[0].startswith("/") and values["directory"].startswith("/")):
        raise ValueError
    return Record(
        name=values["name"],
        socket=values["socket"],
        command=words,
        directory=values["directory"],
    )


def _check_place(file: Path) -> None:
    """Refuse to take the place of something that no server has left."""
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"{file}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise StartError(f"{file}: it is not a regular file; it was left as it is")
    try:
        # O_NONBLOCK matters only if it has become something else meanwhile.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            _record_of(opened.read(SIZE_MAX + 1))
    except OSError as error:
        raise StartError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StartError(
            f"{file}: there is a file that no server has left; it was left as it is"
        ) from None
