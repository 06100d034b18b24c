"""A guest in asyncio: each line that comes in by TCP goes to all WebSocket clients.

Run it with: python guest_asyncio.py /tmp/guest.socket 9000
Then: echo hello | nc 127.0.0.1 9000
"""

import asyncio
import contextlib
import sys

import dorrit


def said(conn, message):
    conn.send("only those who come by TCP may speak here")


async def main(path, port):
    async def pass_on(reader, writer):
        async for line in reader:
            guest.server.broadcast(guest.connections, line.decode(errors="replace").rstrip())
        writer.close()

    async with (
        dorrit.listen(path, on_message=said) as guest,
        await asyncio.start_server(pass_on, "127.0.0.1", port) as lines,
    ):
        print("TCP port", lines.sockets[0].getsockname()[1], flush=True)
        await lines.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
