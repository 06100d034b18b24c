"""Server file for dorrit that publishes every message to a topic that everyone has."""

import dorrit

TOPIC = "all"


def ws_init_func() -> None:
    """Nothing to set up."""


def ws_exit_func() -> None:
    """Nothing to tear down."""


def ws_open_callback(conn: dorrit.Connection, _cookie: str) -> None:
    """Let the connection get everything."""
    dorrit.ws_subscribe(conn, TOPIC)


def ws_read_callback(_conn: dorrit.Connection, binary: bool, data: bytes) -> None:  # noqa: FBT001
    """Pass one message on."""
    dorrit.ws_publish(TOPIC, binary, data)


def ws_close_callback(_conn: dorrit.Connection) -> None:
    """It has left."""
