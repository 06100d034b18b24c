"""Server on websockets: ``websockets_server.py echo|fan-out PATH``.

Compression is off (the client offers none) and so are the keepalive pings, which no other server
here sends.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import ServerConnection, broadcast, unix_serve

connections: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    """Send every message back."""
    async for message in connection:
        await connection.send(message)


async def fan_out(connection: ServerConnection) -> None:
    """Send every message to everyone."""
    connections.add(connection)
    try:
        async for message in connection:
            broadcast(connections, message)
    finally:
        connections.discard(connection)


async def serve(handler: Callable[[ServerConnection], Awaitable[None]], path: str) -> None:
    """Listen on the UNIX socket ``path`` until the process is stopped."""
    server = await unix_serve(handler, path, compression=None, ping_interval=None, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    work, socket_path = sys.argv[1:]
    asyncio.run(serve(echo if work == "echo" else fan_out, socket_path))
