"""The close codes of RFC 6455 section 7.4.1 and of the IANA registry (section 11.7)."""

from enum import IntEnum
from typing import Final, NamedTuple


class CloseCode(IntEnum):
    """Why a WebSocket was closed; ``meaning`` says it in one line.

    The names are the registry's. 1005, 1006 and 1015 are for local use: they "MUST NOT be set as a
    status code in a Close control frame by an endpoint". 1004 is reserved without a meaning, and so
    has no name here.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXT = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    UNAUTHORIZED = 3000
    FORBIDDEN = 3003
    TIMEOUT = 3008

    @property
    def meaning(self) -> str:
        """What it says, in one line."""
        return _MEANINGS[self]


# Not beside the members, as `NAME = code, meaning`: a type checker takes the pair for the value.
_MEANINGS: Final = {
    CloseCode.NORMAL_CLOSURE: "the purpose of the connection has been fulfilled",
    CloseCode.GOING_AWAY: "the server is stopping, or the browser has left the page",
    CloseCode.PROTOCOL_ERROR: "the other side broke the protocol",
    CloseCode.UNSUPPORTED_DATA: "a message of a type that this side does not accept",
    CloseCode.NO_STATUS_RCVD: "the close frame held no code (never sent)",
    CloseCode.ABNORMAL_CLOSURE: "the connection ended without a close frame (never sent)",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "a payload unlike its type, such as text not in UTF-8",
    CloseCode.POLICY_VIOLATION: "a message or a client that breaks this side's policy",
    CloseCode.MESSAGE_TOO_BIG: "a message that is larger than this side accepts",
    CloseCode.MANDATORY_EXT: "the server did not negotiate an extension that the client needs",
    CloseCode.INTERNAL_ERROR: "the server met a condition that it did not expect",
    CloseCode.SERVICE_RESTART: "the service restarts; the client may connect again",
    CloseCode.TRY_AGAIN_LATER: "the service is overloaded; the client should wait",
    CloseCode.BAD_GATEWAY: "the gateway got an invalid answer from the server behind it",
    CloseCode.TLS_HANDSHAKE: "the TLS handshake failed (never sent)",
    CloseCode.UNAUTHORIZED: "the client has not said who it is",
    CloseCode.FORBIDDEN: "the client may not do this",
    CloseCode.TIMEOUT: "the client took too long",
}


class Dismissal(NamedTuple):
    """Why a connection that an earlier image of the process has left to this one does not go on.

    Attributes:
        code: What the client is told.
        reason: Likewise.
        is_told: Whether the server's own code hears of the end.
    """

    code: int
    reason: str
    is_told: bool
