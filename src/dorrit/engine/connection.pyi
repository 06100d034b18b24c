"""What Python sees of `dorrit.engine.connection`."""

from collections.abc import Awaitable
from typing import Any, final

from typing_extensions import Buffer

from dorrit.engine.peer import Peer
from dorrit.engine.recovered import Recovered
from dorrit.protocol.handshake import Request

@final
class Connection:
    """One client's connection. The server makes these and hands them to your handlers.

    It may be kept for as long as you like: once the connection is over, what you ask of it is
    quietly not done.

    Attributes:
        data: Whatever you want to keep with the connection; None until set.
    """

    data: Any
    @property
    def number(self) -> int:
        """Which client of this server it is, from 1; the log names clients by it."""
    @property
    def dropped(self) -> int:
        """Messages that were left out, because this client did not read.

        Also those that were too many to wait until `Server.on_subscribed` had returned for it.
        """
    @property
    def is_open(self) -> bool:
        """Whether messages can still be queued for this client."""
    @property
    def pending(self) -> int:
        """Frames of messages that have not been written yet, 0 to 200."""
    @property
    def pending_bytes(self) -> int:
        """Bytes that have not been written yet, frame headers and control frames included."""
    @property
    def age(self) -> float:
        """Seconds since the open handler has accepted the client; 0.0 until then."""
    @property
    def request(self) -> Request:
        """The client's request: in the open handler and, if the server keeps requests, later.

        Raises:
            RuntimeError: It has been let go. Keep what you need of it: `conn.data = conn.request`,
                or use the setting `keep_requests`.
        """
    @property
    def peer(self) -> Peer | None:
        """Who has connected to the socket, as the kernel says: the web server.

        None once the connection is closed.
        """
    def send(self, message: str | Buffer) -> bool:
        """Queue a message for this client; it is written later in the loop's turn.

        Args:
            message: `str` for a text, `bytes` or another object with bytes in it, which may be
                changed afterwards, for a binary message. It may be empty.

        Returns:
            Whether it is queued. If not, the connection is closed or closing, or its queue has no
            room for all of the message, because the client does not read; see `dropped`.

        Raises:
            TypeError: `message` is of another type.
            ValueError: No queue ever has room for it, or a text can't be encoded.
        """
    def subscribe(self, topic: str) -> bool:
        """Have this client get what is published to a topic, see `Server.publish`.

        It does so at once or, if the server has a handler `on_subscribed`, when that has returned.
        A reload or a crash of the server does not end it; the end of the connection does.

        Args:
            topic: Any text that takes 1 to 255 bytes in UTF-8, without control characters. What
                clients send may be none: look at it, or expect the ValueError.

        Returns:
            Whether it is subscribed, which it may have been before. It is not if the connection is
            closed or closing, or has as many topics as the setting `max_topics` allows.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
    def subscribed(self, topic: str) -> Awaitable[Recovered | None]:
        """Wait until a subscription stands: `await conn.subscribed(topic)`, in an `async` handler.

        What is published from there on reaches this client. It does not wait for the handler of
        `Server.on_subscribed`, which is for what the client is to be told before that.

        Args:
            topic: What was given to `subscribe`.

        Returns:
            A `Recovered`; None if it is not subscribed, or the connection is closed or closing.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
            RuntimeError: The server has no event loop of asyncio.
        """
    def unsubscribe(self, topic: str) -> None:
        """Have this client get no more of a topic. What is queued for it still goes.

        Raises:
            TypeError: `topic` is not a str.
            ValueError: It can't be a topic.
        """
    @property
    def topics(self) -> frozenset[str]:
        """The topics that it is subscribed to; once it is closed or closing, those that it was."""
    def save(self, state: Buffer) -> None:
        """Keep some bytes for the server's next image: `on_resume` gets them there.

        A server that is reloaded or crashes goes on with its connections, but not with `data` nor
        with anything else of Python. What was kept before is replaced.

        Args:
            state: `bytes` or another object with bytes in it, 65,536 at most; none keeps nothing.

        Raises:
            TypeError: `state` has no bytes in it.
            ValueError: It has more of them.
        """
    @property
    def saved(self) -> bytes:
        """What was last given to `save`, in this image or in the one before; b"" if nothing was."""
    def drain(self) -> Awaitable[None]:
        """Wait until there is room in the queue: `await conn.drain()`, in an `async` handler.

        Returns at once if at most half of what may wait does wait; otherwise when all of it has
        been handed to the kernel, or when the connection is over.

        In an `async` open handler there is nothing to wait for: what that sends is written when it
        has returned. Send what is more from a task that it makes, or when the first message comes.

        Raises:
            RuntimeError: The server has no event loop of asyncio, or this is its open handler.
        """
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection after what is queued has been written (RFC 6455 section 7.1.2).

        From now on no message of this client is delivered, and none is queued for it. Does nothing
        if the connection is closing or closed already.

        Args:
            code: The close code, one that RFC 6455 section 7.4 lets an endpoint send.
            reason: For the client; cut to 123 bytes of UTF-8.

        Raises:
            TypeError: The code is not an int, or the reason not a str.
            ValueError: The code must not be sent.
        """
    def abort(self) -> None:
        """Close the connection at once; what is queued is not written, and no close frame sent."""

def client_of(connection: Connection) -> dict[str, Any]:
    """Return what the log says about whose connection this is, without secrets.

    Its number, the client's address, if the server trusts a header that has it, and the path that
    was asked for, without its query.
    """

def seconds_open(connection: Connection) -> float:
    """Return how long ago a connection was accepted, which it must have been."""

def connections_alive() -> int:
    """The number of `Connection` objects in this process, closed ones that are held included."""
