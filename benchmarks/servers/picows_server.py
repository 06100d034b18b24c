"""Server on picows, its core API: ``picows_server.py uvloop|asyncio echo|fan-out PATH``.

picows listens on TCP only by its own interface, but hands the arguments that it does not know to
``loop.create_server``, which takes a socket that is already bound, a UNIX one too. Its protocol
then sets TCP options on each connection, which a UNIX socket refuses; the stand-in below turns
them into one that does nothing there. This happens once for each connection, never for a message.
"""

import asyncio
import socket
import sys
from types import SimpleNamespace

import picows.picows
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

BACKLOG = 1024

transports: set[WSTransport] = set()


class Echo(WSListener):
    """Sends every message back, as picows' own example does."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer one frame; pings are answered by picows itself."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class FanOut(WSListener):
    """Sends every message to everyone."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Add the connection to those that get everything."""
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take it out again."""
        transports.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass one frame on."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            kind, payload = frame.msg_type, frame.get_payload_as_memoryview()
            for receiver in transports:
                receiver.send(kind, payload)


def allow_unix_sockets() -> None:
    """Make picows' TCP options for a connection harmless on a UNIX socket."""
    vars(picows.picows)["socket"] = SimpleNamespace(
        IPPROTO_TCP=socket.SOL_SOCKET,
        TCP_NODELAY=socket.SO_KEEPALIVE,
        SOL_SOCKET=socket.SOL_SOCKET,
        SO_RCVBUF=socket.SO_RCVBUF,
        SO_SNDBUF=socket.SO_SNDBUF,
    )


async def serve(listener_class: type[WSListener], path: str) -> None:
    """Listen on the UNIX socket ``path`` until the process is stopped."""

    def accept(_request: WSUpgradeRequest) -> WSListener:
        return listener_class()

    allow_unix_sockets()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    server = await ws_create_server(accept, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    loop_name, work, socket_path = sys.argv[1:]
    serving = serve(Echo if work == "echo" else FanOut, socket_path)
    if loop_name == "uvloop":
        uvloop.run(serving)
    else:
        asyncio.run(serving)
