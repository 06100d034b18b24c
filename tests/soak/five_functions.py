"""The server of five functions that is soaked: it echoes, and follows commands as the others do."""

import sys
from collections.abc import Iterable
from pathlib import Path

import dorrit
from dorrit import Connection

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.soak.servers import LISTENING, House, Planned, is_command


class Hall:
    """What commands ask of a server, made of the functions alone."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()

    def broadcast(self, hearing: Iterable[Connection], text: str) -> int:
        told = [conn for conn in hearing if dorrit.ws_write_conn(conn, False, text.encode()) == 0]
        return len(told)


hall = Hall()
house = House(hall)


def ws_init_func() -> None:
    dorrit.ws_set_name("functions")
    dorrit.ws_set_periodic(house.tick, 0.05)


def ws_open_callback(conn: Connection, cookie: str | None) -> int:
    if house.admit(conn) is False:
        return -1
    hall.connections.add(conn)
    dorrit.ws_set_data(conn, conn.request.path)
    return 0


def ws_read_callback(conn: Connection, binary: bool, data: bytes) -> None:
    message = data if binary else data.decode()
    if is_command(message):
        house.follow(conn, str(message))
        return
    assert dorrit.ws_get_data(conn) is not None
    if data:
        assert dorrit.ws_write_conn(conn, binary, house.echoed_as(data)) == 0
    else:
        assert dorrit.ws_write_conn(conn, binary, data) == -2
        conn.send(message)  # the function sends no empty message


def ws_close_callback(conn: Connection) -> None:
    hall.connections.remove(conn)
    if dorrit.ws_get_data(conn) == "/raising-later":
        raise Planned("in the close callback")


def ws_exit_func() -> None:
    assert LISTENING not in {dorrit.ws_get_data(conn) for conn in hall.connections}
