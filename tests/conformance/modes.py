"""The ways in which dorrit is served to the suite, and the ways that lead there."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.expectations import Exclusion, Expectations, read_exclusions
from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import Process, find_program, service_directory

OBJECTS = Path(__file__).parent / "echo_server.py:app"

LARGEST = 16 * 1024 * 1024
"""The largest message in the suite: cases 9.1.6 and 9.2.6."""


@dataclass(frozen=True)
class Mode:
    """A server with its options.

    Attributes:
        name: What it is called in tables.
        server: What `dorrit serve` serves.
        options: More options of the command.
        exclusions: The cases that its rules exclude.
        deflate: Whether it has permessage-deflate.
    """

    name: str
    server: Path
    options: tuple[str, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    deflate: bool = False

    @property
    def expectations(self) -> Expectations:
        """What has to happen."""
        return Expectations(self.exclusions, deflate=self.deflate)


_ALL_OF_IT = ("--rfc", "--max-message", str(LARGEST))

FIVE_FUNCTIONS = Mode("five functions", EXAMPLES / "echo.py", exclusions=read_exclusions())

RFC = Mode("--rfc", OBJECTS, _ALL_OF_IT)

DEFLATE = Mode("--rfc --deflate", OBJECTS, (*_ALL_OF_IT, "--deflate"), deflate=True)

FIVE_FUNCTIONS_RFC = Mode(
    "five functions, --rfc",
    EXAMPLES / "echo.py",
    _ALL_OF_IT,
    tuple(each for each in read_exclusions() if not each.close_code),
)
"""Only what `ws_write_conn` does not send is excluded."""

NO_RFC = Mode(
    "--no-rfc",
    OBJECTS,
    ("--no-rfc",),
    tuple(each for each in read_exclusions() if each.close_code),
)
"""A server object, which may send what it wants, with the rules for what comes in."""


@contextlib.contextmanager
def _forwarded(socket_path: Path) -> Iterator[str]:
    """Yield an address from which bytes are forwarded as they are: the suite speaks TCP only."""
    process = Process(
        "socat",
        # With -d -d it says on which port it listens.
        [find_program("socat"), "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork",
         f"UNIX-CONNECT:{socket_path}"],
    )  # fmt: skip
    listening = re.compile(r"listening on AF=2 127\.0\.0\.1:(\d+)")
    process.wait_until(lambda: listening.search(process.output) is not None, "it listens")
    found = listening.search(process.output)
    assert found is not None
    try:
        yield f"ws://127.0.0.1:{found.group(1)}/"
    finally:
        process.stop()


@contextlib.contextmanager
def _through_nginx(socket_path: Path) -> Iterator[str]:
    with nginx_in_front_of(socket_path) as nginx:
        yield nginx.url


PATHS = {"direct": _forwarded, "nginx": _through_nginx}
"""The ways from the suite to the server."""


@contextlib.contextmanager
def serve(mode: Mode, path: str) -> Iterator[str]:
    """Serve a mode and yield its address on one of the `PATHS`."""
    with service_directory() as folder:
        socket_path = folder / "echo.socket"
        with (
            dorrit_serve(mode.server, socket_path, *mode.options),
            PATHS[path](socket_path) as url,
        ):
            yield url
