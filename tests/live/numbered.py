"""A server for `traffic.c`, of five functions and the sixth that has connections live on."""

from dataclasses import dataclass

import dorrit
from tests.live.numbers import COUNT, answers, crash_if_told, number_of


@dataclass
class Client:
    """What is known of one: its number, and how many messages have come from it."""

    number: int
    heard: int


def ws_init_func() -> None:
    dorrit.ws_set_name("numbered")


def ws_exit_func() -> None:
    pass


def ws_open_callback(conn: dorrit.Connection, cookie: str) -> int:
    dorrit.ws_set_data(conn, Client(number_of(cookie), 0))
    return 0


def ws_resume_callback(conn: dorrit.Connection, cookie: str, state: bytes | None) -> None:
    heard = COUNT.unpack(state)[0] if state else 0
    dorrit.ws_set_data(conn, Client(number_of(cookie), heard))


def ws_read_callback(conn: dorrit.Connection, binary: bool, data: bytes) -> None:
    assert binary
    crash_if_told(data)
    client: Client = dorrit.ws_get_data(conn)
    client.heard += 1
    dorrit.ws_save(conn, COUNT.pack(client.heard))
    for answer in answers(data, client.number, client.heard):
        dorrit.ws_write_conn(conn, True, answer)


def ws_close_callback(conn: dorrit.Connection) -> None:
    pass
