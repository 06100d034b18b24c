"""A guest in trio: each line that comes in by TCP goes to all WebSocket clients.

Run it with: python guest_trio.py /tmp/guest.socket 9000
Then: echo hello | nc 127.0.0.1 9000
It needs: pip install trio
"""

import functools
import math
import sys

import trio

import dorrit


def said(conn, message):
    conn.send("only those who come by TCP may speak here")


async def turn(guest):
    """Give the server a turn whenever its descriptor is readable, or its time has come."""
    while True:
        timeout = guest.timeout()
        with trio.move_on_after(math.inf if timeout is None else timeout):
            await trio.lowlevel.wait_readable(guest.fileno())
        guest.poll()


async def main(path, port):
    async def pass_on(stream):
        rest = b""
        async for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                guest.server.broadcast(guest.connections, line.decode(errors="replace").rstrip())

    with dorrit.listen(path, on_message=said) as guest:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn, guest)
            serve = functools.partial(trio.serve_tcp, pass_on, port, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            print("TCP port", listener.socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1], int(sys.argv[2]))
    except* KeyboardInterrupt:
        pass
