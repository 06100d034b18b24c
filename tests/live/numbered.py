"""A server for `traffic.c`, of five functions and the sixth that has connections live on."""

import dorrit
from tests.live.numbers import COUNT, answers, crash_if_told


def ws_init_func() -> None:
    dorrit.ws_set_name("numbered")


def ws_exit_func() -> None:
    pass


def ws_open_callback(conn: dorrit.Connection, cookie: str) -> int:
    assert cookie.startswith("client=")
    dorrit.ws_set_data(conn, 0)
    return 0


def ws_resume_callback(conn: dorrit.Connection, cookie: str, state: bytes | None) -> None:
    assert cookie.startswith("client=")
    dorrit.ws_set_data(conn, COUNT.unpack(state)[0] if state else 0)


def ws_read_callback(conn: dorrit.Connection, binary: bool, data: bytes) -> None:
    assert binary
    crash_if_told(data)
    heard = dorrit.ws_get_data(conn) + 1
    dorrit.ws_set_data(conn, heard)
    dorrit.ws_save(conn, COUNT.pack(heard))
    for answer in answers(data, heard):
        dorrit.ws_write_conn(conn, True, answer)


def ws_close_callback(conn: dorrit.Connection) -> None:
    pass
