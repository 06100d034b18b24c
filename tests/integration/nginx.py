"""nginx with the configuration that dorrit ships, on a free port, as an unprivileged user."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.integration.processes import (
    Process,
    find_program,
    find_service_user,
    service_directory,
    wait_until,
)

SHIPPED = Path(__file__).parents[2] / "packaging" / "nginx" / "dorrit.conf"

# What has to stand around the shipped file, and keeps nginx within its own directory.
MAIN = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events { worker_connections CONNECTIONS; }
http {
    access_log off;
    default_type text/html;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include dorrit.conf;
}
"""

PAGE = '<!DOCTYPE html><title>A page of the site</title><link rel="icon" href="data:,">'

Edit = Callable[[str], str]


def replace_line(text: str, line: str, replacement: str) -> str:
    """Return a configuration with one of its directives replaced, or taken out by ``""``."""
    lines = text.splitlines()
    places = [number for number, found in enumerate(lines) if found.strip() == line]
    assert len(places) == 1, f"{line!r} stands {len(places)} times in {SHIPPED.name}"
    lines[places[0]] = replacement
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Nginx:
    """A configured nginx, which can be started and stopped any number of times.

    Attributes:
        port: Its TCP port on 127.0.0.1.
    """

    def __init__(
        self, directory: Path, socket_path: Path, *, edit: Edit = str, connections: int = 512
    ) -> None:
        """Write the configuration.

        Args:
            directory: An empty directory of the service user's, for all that nginx writes.
            socket_path: The socket of the server behind it.
            edit: What else to change in the shipped file.
            connections: How many it has at most, two for each client.
        """
        self.port = _free_port()
        self._directory = directory
        text = SHIPPED.read_text()
        text = replace_line(
            text, "server unix:/var/run/dorrit.socket;", f"server unix:{socket_path};"
        )
        text = replace_line(text, "listen 80;", f"listen 127.0.0.1:{self.port};")
        text = replace_line(text, "root /var/www/html;", f"root {directory}/www;")
        (directory / "www").mkdir()
        (directory / "www" / "index.html").write_text(PAGE)
        (directory / "dorrit.conf").write_text(edit(text))
        (directory / "nginx.conf").write_text(MAIN.replace("CONNECTIONS", str(connections)))
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The address of the WebSocket."""
        return f"ws://127.0.0.1:{self.port}/websocket"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    @property
    def process(self) -> Process:
        """The master process."""
        assert self._process is not None, "nginx is not running"
        return self._process

    @property
    def _command(self) -> list[str | Path]:
        return [find_program("nginx"), "-p", self._directory, "-e", "stderr", "-c", "nginx.conf"]

    def check(self) -> str:
        """Return what ``nginx -t`` says.

        Raises:
            subprocess.CalledProcessError: It says that the configuration is wrong.
        """
        user = find_service_user()
        result = subprocess.run(
            [*self._command, "-t"],
            check=True,
            capture_output=True,
            text=True,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        return result.stderr

    def start(self) -> None:
        """Start it and wait until it accepts."""
        process = Process("nginx", self._command, user=find_service_user())
        process.wait_until(self.accepts, "it accepts")
        self._process = process

    def stop(self) -> None:
        """Stop it at once; clients are cut off."""
        self.process.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait for its end after it was told to stop."""
        process, self._process = self.process, None
        status = process.wait()
        assert status == 0, process.output

    def reload(self) -> None:
        """Have it read its configuration again, and wait for the new worker to take over."""
        done = "start worker process "
        before = self.process.output.count(done)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.process.output.count(done) > before, "nginx starts a new worker")
        wait_until(lambda: "gracefully shutting down" in self.process.output, "the old one goes")

    def accepts(self) -> bool:
        """Whether a connection to its port is accepted."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def nginx_in_front_of(
    socket_path: Path, *, edit: Edit = str, connections: int = 512
) -> Iterator[Nginx]:
    """Run nginx in front of a socket; see `Nginx`. A test may stop it by itself."""
    with service_directory() as directory:
        nginx = Nginx(directory, socket_path, edit=edit, connections=connections)
        nginx.start()
        try:
            yield nginx
        finally:
            if nginx.is_running:
                nginx.stop()
