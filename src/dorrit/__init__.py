"""A WebSocket server library that listens on a UNIX-domain socket behind your web server.

Make a `Server` and run it with ``dorrit serve FILE:app``, or define five functions in a file and
run it with ``dorrit serve FILE``; dorrit is the rest.
"""

from dorrit.api.functions import (
    main,
    ws_close_conn,
    ws_get_data,
    ws_publish,
    ws_save,
    ws_set_data,
    ws_set_name,
    ws_set_periodic,
    ws_subscribe,
    ws_unsubscribe,
    ws_write_conn,
)
from dorrit.api.guest import Guest, listen
from dorrit.api.reject import Reject
from dorrit.api.server import Server
from dorrit.engine import Connection, Peer, Recovered
from dorrit.errors import DorritError, StartError
from dorrit.protocol.closing import CloseCode
from dorrit.protocol.fields import Headers, Query
from dorrit.protocol.request import Request
from dorrit.settings import ServerSettings
from dorrit.version import __version__

__all__ = [
    "CloseCode",
    "Connection",
    "DorritError",
    "Guest",
    "Headers",
    "Peer",
    "Query",
    "Recovered",
    "Reject",
    "Request",
    "Server",
    "ServerSettings",
    "StartError",
    "__version__",
    "listen",
    "main",
    "ws_close_conn",
    "ws_config_file",
    "ws_get_data",
    "ws_publish",
    "ws_save",
    "ws_set_data",
    "ws_set_name",
    "ws_set_periodic",
    "ws_subscribe",
    "ws_unsubscribe",
    "ws_write_conn",
]

ws_config_file: str | None = None
"""What ``-f`` names, or None. It is set before the server's file is loaded."""
