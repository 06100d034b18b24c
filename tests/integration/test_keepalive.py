"""Pings keep a connection through nginx alive on which nobody says anything."""

import time

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import nginx_in_front_of, replace_line
from tests.integration.processes import DEADLINE, service_directory


def impatient(text: str) -> str:
    """The configuration with a time-out of three seconds instead of nginx's default of a minute."""
    return replace_line(text, "proxy_read_timeout 1h;", "proxy_read_timeout 3s;")


@pytest.mark.parametrize("pings", [True, False])
def test_a_silent_connection_outlives_the_proxys_timeout_only_with_pings(pings: bool) -> None:
    options = ["--ping-interval", "0.25"] if pings else []
    with service_directory() as directory:
        path = directory / "echo.socket"
        with (
            dorrit_serve(EXAMPLES / "echo.py", path, *options),
            nginx_in_front_of(path, edit=impatient) as nginx,
            # The client itself sends no pings, it only answers them, as a browser does.
            connect(nginx.url, proxy=None, ping_interval=None, open_timeout=DEADLINE) as client,
        ):
            if pings:
                with pytest.raises(TimeoutError):
                    client.recv(timeout=6)
                client.send("still there")
                assert client.recv(timeout=DEADLINE) == "still there"
            else:
                begin = time.monotonic()
                with pytest.raises(ConnectionClosedError):
                    client.recv(timeout=45)
                assert time.monotonic() - begin < 45  # long before nginx's default
