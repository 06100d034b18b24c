"""Echo: sends every message back to the client it came from.

Run it with: dorrit serve echo.py -x -l /tmp/echo.socket
"""

import dorrit


def ws_init_func():
    dorrit.ws_set_name("echo")


def ws_open_callback(conn, cookie):
    return 0


def ws_read_callback(conn, binary, data):
    dorrit.ws_write_conn(conn, binary, data)


def ws_close_callback(conn):
    pass


def ws_exit_func():
    pass
