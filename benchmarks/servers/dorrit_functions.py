"""Echo with the five functions of dorrit's procedural interface."""

import dorrit


def ws_init_func() -> None:
    """Nothing to set up."""


def ws_exit_func() -> None:
    """Nothing to tear down."""


def ws_open_callback(_conn: dorrit.Connection, _cookie: str) -> None:
    """Everybody may come in."""


def ws_read_callback(conn: dorrit.Connection, binary: bool, data: bytes) -> None:  # noqa: FBT001
    """Send the message back."""
    dorrit.ws_write_conn(conn, binary, data)


def ws_close_callback(_conn: dorrit.Connection) -> None:
    """Nobody is missed."""
