"""The pid file of a server that root has started as a daemon (R24)."""

import os
from typing import Self

from dorrit.errors import StartError
from dorrit.process.files.directories import check_directory
from dorrit.process.files.lock import HeldError, Lock
from dorrit.process.files.paths import DIRECTORY, pid_path


class PidFile:
    """The file ``<name>.pid``, which is a `Lock` as well: one server of each name.

    Attributes:
        path: The file. It says the pid and a line end, and only root can read it.
        lock: Its lock.
    """

    def __init__(self, name: str, directory: str | os.PathLike[str] = DIRECTORY) -> None:
        """Take the name. The file is empty until `write`.

        Args:
            name: The server's.
            directory: Where the file is.

        Raises:
            StartError: A server of this name runs, or the file can't be made there.
        """
        check_directory(directory)
        self.path: str = pid_path(name, directory)
        try:
            self.lock: Lock = Lock(self.path)
        except HeldError as error:
            if error.pid is None:
                reason = f"a server named {name} is starting or stopping"
            else:
                reason = (
                    f"a server named {name} runs already, as process {error.pid}; stop it first"
                )
            raise StartError(f"{self.path}: {reason}") from None

    @classmethod
    def adopt(
        cls, descriptor: int, name: str, directory: str | os.PathLike[str] = DIRECTORY
    ) -> Self:
        """Go on with the file of the previous image (R29); the pid has stayed the same.

        Args:
            descriptor: What was ``lock.descriptor`` there.
            name: The server's.
            directory: Where the file is.

        Raises:
            StartError: It is not a descriptor of that kind, or another process has the lock.
        """
        file = cls.__new__(cls)
        file.path = pid_path(name, directory)
        file.lock = Lock.adopt(descriptor, file.path)
        return file

    def write(self) -> None:
        """Write the current process's pid: the daemon's, once it is one.

        Raises:
            StartError: It can't be written.
        """
        self.lock.write()

    def close(self) -> bool:
        """Remove the file and free the name; return whether it is gone, see `Lock.close`."""
        return self.lock.close()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()
