"""A WebSocket server library that listens on a UNIX-domain socket behind your web server.

Define five functions in a file and run it with ``dorrit serve FILE``; dorrit is the rest.
"""

from dorrit.api.procedural import (
    ws_close_conn,
    ws_get_data,
    ws_set_data,
    ws_set_name,
    ws_set_periodic,
    ws_write_conn,
)
from dorrit.api.standalone import main
from dorrit.engine import Connection
from dorrit.errors import DorritError, StartError

__all__ = [
    "Connection",
    "DorritError",
    "StartError",
    "__version__",
    "main",
    "ws_close_conn",
    "ws_config_file",
    "ws_get_data",
    "ws_set_data",
    "ws_set_name",
    "ws_set_periodic",
    "ws_write_conn",
]

__version__ = "0.1.0"

ws_config_file: str | None = None
"""What ``-f`` names (R35), or None. It is set before the server's file is loaded."""
