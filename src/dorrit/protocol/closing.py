"""The close codes of RFC 6455 section 7.4.1 and of the IANA registry (section 11.7)."""

from enum import IntEnum
from typing import Self


class CloseCode(IntEnum):
    """Why a WebSocket was closed; ``meaning`` says it in one line.

    The names are the registry's. 1005, 1006 and 1015 are for local use: they "MUST NOT be set as a
    status code in a Close control frame by an endpoint". 1004 is reserved without a meaning, and so
    has no name here.
    """

    meaning: str

    # The default is there for the type checker only: ``CloseCode(1000)`` looks a member up.
    def __new__(cls, code: int, meaning: str = "") -> Self:
        """Make the member an integer that carries its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    NORMAL_CLOSURE = 1000, "the purpose of the connection has been fulfilled"
    GOING_AWAY = 1001, "the server is stopping, or the browser has left the page"
    PROTOCOL_ERROR = 1002, "the other side broke the protocol"
    UNSUPPORTED_DATA = 1003, "a message of a type that this side does not accept"
    NO_STATUS_RCVD = 1005, "the close frame held no code (never sent)"
    ABNORMAL_CLOSURE = 1006, "the connection ended without a close frame (never sent)"
    INVALID_FRAME_PAYLOAD_DATA = 1007, "a payload unlike its type, such as text that is not UTF-8"
    POLICY_VIOLATION = 1008, "a message or a client that breaks this side's policy"
    MESSAGE_TOO_BIG = 1009, "a message that is larger than this side accepts"
    MANDATORY_EXT = 1010, "the server did not negotiate an extension that the client needs"
    INTERNAL_ERROR = 1011, "the server met a condition that it did not expect"
    SERVICE_RESTART = 1012, "the service restarts; the client may connect again"
    TRY_AGAIN_LATER = 1013, "the service is overloaded; the client should wait"
    BAD_GATEWAY = 1014, "the gateway got an invalid answer from the server behind it"
    TLS_HANDSHAKE = 1015, "the TLS handshake failed (never sent)"
    UNAUTHORIZED = 3000, "the client has not said who it is"
    FORBIDDEN = 3003, "the client may not do this"
    TIMEOUT = 3008, "the client took too long"
