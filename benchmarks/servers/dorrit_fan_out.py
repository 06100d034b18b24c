"""Server file for dorrit that sends every message to everyone."""

import dorrit

connections: set[dorrit.Connection] = set()


def ws_init_func() -> None:
    """Nothing to set up."""


def ws_exit_func() -> None:
    """Nothing to tear down."""


def ws_open_callback(conn: dorrit.Connection, _cookie: str) -> None:
    """Add the connection to those that get everything."""
    connections.add(conn)


def ws_read_callback(_conn: dorrit.Connection, binary: bool, data: bytes) -> None:  # noqa: FBT001
    """Pass one message on."""
    dorrit.ws_write_conn(connections, binary, data)


def ws_close_callback(conn: dorrit.Connection) -> None:
    """Take the connection out again."""
    connections.discard(conn)
