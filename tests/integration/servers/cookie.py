"""Cookie: sends each client the cookie that it came with, and says on stderr when it has gone."""

import sys

import dorrit


def ws_init_func() -> None:
    dorrit.ws_set_name("cookie")


def ws_open_callback(conn: dorrit.Connection, cookie: str) -> int:
    dorrit.ws_write_conn(conn, False, f"cookie: {cookie}")
    return 0


def ws_read_callback(conn: dorrit.Connection, binary: bool, data: bytes) -> None:
    dorrit.ws_write_conn(conn, binary, data)


def ws_close_callback(conn: dorrit.Connection) -> None:
    print("a client has gone", file=sys.stderr, flush=True)


def ws_exit_func() -> None:
    pass
