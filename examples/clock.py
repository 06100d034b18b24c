"""Clock: tells all clients the time, once a second, and each of them how long it has been here.

Run it with: dorrit serve clock.py -x -l /tmp/clock.socket
"""

import time

import dorrit

clients = set()


def ws_init_func():
    dorrit.ws_set_name("clock")
    dorrit.ws_set_periodic(tick, 1)


def tick():
    # Framed once, however many clients there are.
    dorrit.ws_write_conn(clients, False, time.strftime("%H:%M:%S"))


def ws_open_callback(conn, cookie):
    # The server speaks first: what is written here follows the handshake.
    dorrit.ws_write_conn(conn, False, "Hello. Send anything to hear how long you have been here.")
    dorrit.ws_set_data(conn, time.monotonic())
    clients.add(conn)
    return 0


def ws_read_callback(conn, binary, data):
    seconds = time.monotonic() - dorrit.ws_get_data(conn)
    dorrit.ws_write_conn(conn, False, f"You have been here for {seconds:.1f} seconds.")


def ws_close_callback(conn):
    clients.discard(conn)


def ws_exit_func():
    pass


if __name__ == "__main__":
    dorrit.main()
