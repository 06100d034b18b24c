"""Child processes of the tests: started, waited for, stopped, and heard when something fails."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

DEADLINE = 120.0
"""Seconds after which what a test waits for is not going to happen."""

POLL_INTERVAL = 0.01
"""Seconds between two looks at a condition."""

RUNNING: list["Process"] = []
"""The processes of the current test, whose stderr is shown if the test fails."""


def wait_until(condition: Callable[[], bool], what: str, *, deadline: float = DEADLINE) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        AssertionError: It didn't within ``deadline`` seconds; the message names ``what``.
    """
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} seconds: {what}"
        time.sleep(POLL_INTERVAL)


def find_program(name: str) -> str:
    """Return the path of a program that ``tests/install`` has installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    assert path is not None, f"{name} is not installed; run tests/install"
    return path


def find_service_user() -> pwd.struct_passwd | None:
    """Return the account under which servers run if the tests are root, otherwise None."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


@contextlib.contextmanager
def service_directory() -> Iterator[Path]:
    """Make a directory that belongs to the service user, and remove it at the end.

    It is not pytest's ``tmp_path``: other users can't enter that, and a socket's path has to fit
    in 108 bytes.
    """
    path = Path(tempfile.mkdtemp(prefix="dorrit-test-", dir="/tmp"))
    try:
        user = find_service_user()
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)
        yield path
    finally:
        # The janitors of servers that were killed remove files there as well.
        while path.exists():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)


class Process:
    """A child process in the foreground whose output goes to a file.

    Attributes:
        name: What it is called in messages.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        user: pwd.struct_passwd | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``command``, as ``user`` if there is one."""
        self.name = name
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._final_output: str | None = None
        self._process = subprocess.Popen(
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            cwd="/",
            env=None if environment is None else {**os.environ, **environment},
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        RUNNING.append(self)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has written to stdout and stderr so far."""
        if self._final_output is not None:
            return self._final_output
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode(errors="backslashreplace")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition`` as long as the process runs.

        Raises:
            AssertionError: It ended first, or the time was up.
        """

        def holds() -> bool:
            if condition():
                return True
            status = self._process.poll()
            assert status is None, f"{self.name} exited with {status} before: {what}\n{self.output}"
            return False

        try:
            wait_until(holds, what)
        except AssertionError:
            self._discard()
            raise

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Send SIGTERM, wait for the end and return the exit status.

        Raises:
            AssertionError: It didn't end, and was killed.
        """
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit status.

        Raises:
            AssertionError: It didn't end, and was killed.
        """
        try:
            return self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end\n{self.output}") from None
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self in RUNNING:
            RUNNING.remove(self)
            self._final_output = self.output
            self._file.close()
