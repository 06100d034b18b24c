"""A small HTTP front on 127.0.0.1: pages for the browser, upgrades for the server's socket.

Loopback keeps other machines out, but not other sites: any page that the developer's browser shows
may open ``ws://127.0.0.1:8080/``, and with a name of its own that resolves to 127.0.0.1 it may read
what the front serves (DNS rebinding). So the ``Host`` and ``Origin`` headers are checked. Other
users of the same machine are not kept out.
"""

import functools
import http.client
import http.server
import importlib.resources
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from dorrit.dev.splice import splice
from dorrit.protocol.display import quoted, target_for_log
from dorrit.protocol.origin import Origins

ADDRESS = "127.0.0.1"

HEAD_LIMIT = 131072
"""Bytes of a request's head; above the limits of dorrit, whose own refusals shall be seen."""

HEAD_TIMEOUT = 10.0
"""Seconds that a client may be silent before its request is complete."""

SERVER_WAIT = 8.0
"""Seconds that an upgrade waits for a server that is being restarted."""

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""The test page: path, file and media type."""


METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
"""Those that are shown in the terminal; there, as in the log, stands nothing secret of clients."""


@dataclass(frozen=True, kw_only=True)
class FrontSettings:
    """What a front serves, and how.

    ``socket_path`` is the server's socket, to which upgrades are passed. ``static`` is a directory
    to serve instead of the test page. ``say`` takes a line for the user, in any thread. An upgrade
    waits ``server_wait`` seconds for a server that does not answer, as long as
    ``is_server_expected`` holds.

    The others are what the server has been told, and the front has to know as well: pages of which
    ``origins`` may connect, besides the front's own; the path where it says how it is; and the
    seconds that a client may be silent before its request is complete.
    """

    socket_path: Path
    say: Callable[[str], None]
    static: Path | None = None
    is_server_expected: Callable[[], bool] = lambda: True
    server_wait: float = SERVER_WAIT
    origins: Sequence[str] = ()
    health: str | None = None
    head_timeout: float = HEAD_TIMEOUT


def _with_forwarded_headers(head: bytes, address: str) -> bytes:
    """Return the head of a request with what a web server adds for the server behind it.

    Lines of these names that the client sent are dropped: a server trusts its front, and the front
    must not let a client say who it is. All other bytes stay as they are.
    """
    replaced = (b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"forwarded")
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in replaced]
    added = (
        f"X-Forwarded-For: {address}",
        "X-Forwarded-Proto: http",
        f"X-Real-IP: {address}",
        f"Forwarded: for={address};proto=http",
    )
    return b"\r\n".join([*kept, *(line.encode("ascii") for line in added), b"", b""])


def _plain_response(status: HTTPStatus, text: str) -> bytes:
    """Return a complete response that says why there was no upgrade."""
    body = f"{status.value} {status.phrase}: {text}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode("ascii") + body


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Answers one request of one connection, or becomes the two ends of an upgraded one.

    The files of a directory, their types and their listing are the standard library's work. It
    takes ``..`` out of a path, and follows symbolic links, which only the directory's owner can
    have put there.
    """

    server: "_Server"
    protocol_version = "HTTP/1.1"
    server_version = "dorrit-dev"
    sys_version = ""
    # TCP_NODELAY: a small frame shall not wait for the acknowledgement of the one before it.
    disable_nagle_algorithm = True
    is_parsed = False

    def setup(self) -> None:
        """Take the time that a request may have."""
        super().setup()
        self.connection.settimeout(self.server.settings.head_timeout)

    def handle(self) -> None:
        """Answer the one request of this connection."""
        head, early = self._read_head()
        if not head:
            return
        self.connection.settimeout(None)
        # The parser of the standard library reads from a file. It gets the head alone: what the
        # client sent behind it stays here, and the bytes of the head are kept to be passed on.
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        self.is_parsed = self.parse_request()
        if not self.is_parsed or not self._is_host_right():
            return
        health = self.server.settings.health
        if "websocket" in self._tokens("Upgrade"):
            if self._is_origin_right():
                self._pass_on(head, early)
        elif health is not None and self.path.partition("?")[0] == health:
            self._pass_on(head, early)
        elif self.command in {"GET", "HEAD"}:
            self._serve_file()
        else:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and upgrades")

    def _read_head(self) -> tuple[bytes, bytes]:
        """Return the head of the request, and what came in behind it.

        Both are empty if the client closed before its head was complete, or was answered already.
        """
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > HEAD_LIMIT:
                self.wfile.write(
                    _plain_response(
                        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"above {HEAD_LIMIT} bytes"
                    )
                )
                return b"", b""
            try:
                data = self.connection.recv(65536)
            except TimeoutError:
                if received:
                    text = "the request did not arrive in time"
                    self.wfile.write(_plain_response(HTTPStatus.REQUEST_TIMEOUT, text))
                return b"", b""
            if not data:
                return b"", b""
            received += data
        return bytes(received[: end + 4]), bytes(received[end + 4 :])

    def _tokens(self, name: str) -> set[str]:
        """Return the elements of a header that is a list, in lower case."""
        lines: list[str] = self.headers.get_all(name, [])
        return {token.strip().lower() for line in lines for token in line.split(",")}

    def _is_host_right(self) -> bool:
        """Refuse a request that was meant for another name than the front's.

        A page of another site reaches 127.0.0.1 with a name of its own in ``Host`` (DNS rebinding).
        """
        hosts = [host.strip() for host in self.headers.get_all("Host", [])]
        if len(hosts) == 1 and (
            hosts[0].lower() in self.server.hosts or self.server.origins.names_host(hosts[0])
        ):
            return True
        self._refuse(
            HTTPStatus.FORBIDDEN,
            f"the Host header {'is another' if hosts else 'is missing'}, and only "
            f"{', '.join(self.server.hosts)} are served; for another name, give its pages: "
            "dorrit dev ... --origin http://NAME:PORT",
            f" (it is {', '.join(quoted('host', host) for host in hosts[:2])})" if hosts else "",
        )
        return False

    def _is_origin_right(self) -> bool:
        """Refuse an upgrade that a page of another site asks for.

        RFC 6455 section 10.2: "Servers that are not intended to process input from any web page but
        only for certain sites SHOULD verify the |Origin| field is an origin they expect." Without
        the header the client is not a browser, and may do what it likes anyway.
        """
        origins = [origin.strip() for origin in self.headers.get_all("Origin", [])]
        own = {f"http://{host}" for host in self.server.hosts}
        if all(
            origin.lower() in own or self.server.origins.allows(origin, self.headers["Host"])
            for origin in origins
        ):
            return True
        self._refuse(
            HTTPStatus.FORBIDDEN,
            "a page of another origin asked for the upgrade, and only this front's own pages may; "
            "to let others, name them: dorrit dev ... --origin http://localhost:5173",
            f" (it is {', '.join(quoted('origin', origin) for origin in origins[:2])})",
        )
        return False

    def _pass_on(self, head: bytes, early: bytes) -> None:
        """Hand the request to the server, and carry what follows both ways."""
        backend = self._connect()
        if backend is None:
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the server does not answer on its socket; the terminal of `dorrit dev` says why",
            )
            return
        with backend:
            splice(
                self.connection,
                backend,
                to_server=_with_forwarded_headers(head, self.client_address[0]) + early,
                if_silent=_plain_response(
                    HTTPStatus.BAD_GATEWAY, "the server closed its socket without an answer"
                ),
            )

    def _connect(self) -> socket.socket | None:
        """Connect to the server's socket; wait for a server that is being restarted."""
        settings = self.server.settings
        deadline = time.monotonic() + settings.server_wait
        while True:
            backend = socket.socket(socket.AF_UNIX)
            try:
                backend.settimeout(settings.server_wait)
                backend.connect(str(settings.socket_path))
            except OSError:
                backend.close()
            else:
                return backend
            if time.monotonic() > deadline or not settings.is_server_expected():
                return None
            time.sleep(0.05)

    def _serve_file(self) -> None:
        if self.server.settings.static is None:
            self._serve_page()
        elif "\0" in unquote(self.path):
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
        elif self.command == "GET":
            self.do_GET()
        else:
            self.do_HEAD()

    def _serve_page(self) -> None:
        """Serve the test page, which may load and run nothing but its own files."""
        if (found := PAGE.get(urlsplit(self.path).path)) is None:
            self.send_error(HTTPStatus.NOT_FOUND, "the test page is at /")
            return
        name, media_type = found
        body = importlib.resources.files("dorrit.dev").joinpath("page", name).read_bytes()
        # 'self' should cover ws: as well, but older browsers do not think so. Content Security
        # Policy has no way to write an IPv6 address.
        sockets = " ".join(f"ws://{host}" for host in self.server.hosts if "[" not in host)
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
            f"connect-src 'self' {sockets}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Add what every answer of the front has, and end the headers."""
        # A reload shows the file as it is now.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Connection", "close")
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a status and a line of plain text; the library calls this."""
        status = HTTPStatus(code)
        text = ": ".join(part for part in (message, explain) if part)
        # What the parser says of a malformed request has a part of it.
        self._refuse(status, text if self.is_parsed else status.description or status.phrase)

    def _refuse(self, status: HTTPStatus, text: str, seen: str = "") -> None:
        """Answer with a status and a line of plain text, and tell the user the same.

        Args:
            status: Of the answer.
            text: A sentence of ours.
            seen: What else the user is told, of what the client has sent.
        """
        response = _plain_response(status, text)
        if self.command == "HEAD":
            response = response[: response.index(b"\r\n\r\n") + 4]
        request = "a malformed request"
        if self.is_parsed:
            method = self.command if self.command in METHODS else "a request for"
            request = f"{method} {target_for_log(self.path)}"
        # First the user, then the client: who asks because of the answer finds the line there.
        self.server.settings.say(f"{request} refused: {status.value} {text}{seen}")
        self.wfile.write(response)

    def log_message(self, _format: str, *args: object) -> None:
        """Say nothing of requests that were answered: refusals are said where they are made."""


class _Server(http.server.ThreadingHTTPServer):
    """The listening socket, and what its handlers need to know."""

    # A test that opens many connections at once is not to be held up here.
    request_queue_size = 128

    def __init__(self, port: int, settings: FrontSettings) -> None:
        self.settings = settings
        self.origins = Origins(settings.origins)
        handler = functools.partial(_Handler, directory=settings.static)
        super().__init__((ADDRESS, port), handler)
        bound: int = self.server_address[1]
        names = (ADDRESS, "localhost", "[::1]")
        # RFC 9110 section 4.2.1 and RFC 6454 section 6.2: a default port is left out.
        port_80 = names if bound == http.client.HTTP_PORT else ()
        self.hosts = (*(f"{name}:{bound}" for name in names), *port_80)

    def server_bind(self) -> None:
        """Bind without the look-up of a host name that HTTPServer does, which may be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Say nothing of a client that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Front:
    """The front, serving in threads of its own from ``start`` to ``close``."""

    def __init__(self, port: int, settings: FrontSettings) -> None:
        """Listen on 127.0.0.1; requests are answered from ``start`` on.

        Args:
            port: The TCP port, 0 to 65535; 0 picks a free one.
            settings: What to serve.

        Raises:
            OSError: The port cannot be had.
        """
        self._server = _Server(port, settings)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._server.server_port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop to accept. Connections end with the process, or when one of their ends closes."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""
        self.close()
