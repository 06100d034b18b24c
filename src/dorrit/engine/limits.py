"""Limits: what an engine can be told, in one object, and whether it can be so."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dorrit.protocol.deflate import Policy


def _range(least: float, most: float) -> Mapping[str, Any]:
    return {"range": (least, most)}


def _words(*words: str) -> Mapping[str, Any]:
    return {"words": words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an engine can be told; each but the first is the setting of the same name.

    It takes less of most than a setting may be: whoever runs it without a server waits
    milliseconds where a client gets seconds.
    """

    linger_timeout: float = field(default=2.0, metadata=_range(0, 3600))
    """Seconds for a client to take in why it was dropped."""

    # made from the settings: limits
    buffer_size: int = field(default=65540, metadata=_range(10, 65540))
    max_connections: int = field(default=16384, metadata=_range(1, 10000000))
    allow_peer: frozenset[int] = frozenset()
    health: str | None = None
    rfc: bool = False
    max_message: int = field(default=1048576, metadata=_range(1, 1073741824))
    deflate: bool = False
    deflate_takeover: str = field(
        default="none", metadata=_words("none", "server", "client", "both")
    )
    deflate_keep_window: bool = False
    deflate_window_bits: int = field(default=15, metadata=_range(9, 15))
    deflate_from: int = field(default=128, metadata=_range(0, 1073741824))
    handshake_timeout: float = field(default=10.0, metadata=_range(0, 3600))
    max_head: int = field(default=65536, metadata=_range(1, 65536))
    max_handshakes: int = field(default=1024, metadata=_range(1, 10000000))
    max_message_rate: int = field(default=0, metadata=_range(0, 1000000))
    close_timeout: float = field(default=10.0, metadata=_range(0, 3600))
    max_buffered: int = field(default=268435456, metadata=_range(0, 1125899906842624))
    slow_clients: str = field(default="refuse", metadata=_words("refuse", "close"))
    max_pending_bytes: int = field(default=0, metadata=_range(0, 2147483647))
    max_topics: int = field(default=100, metadata=_range(0, 10000000))
    max_publish: int = field(default=1048576, metadata=_range(1, 1073741824))
    ping_interval: float = field(default=0.0, metadata=_range(0, 86400))
    ping_timeout: float = field(default=20.0, metadata=_range(0, 86400))
    idle_timeout: float = field(default=0.0, metadata=_range(0, 86400))
    max_lifetime: float = field(default=0.0, metadata=_range(0, 604800))
    keep_requests: bool = False
    # end of limits

    def __post_init__(self) -> None:
        """Look at each value.

        Raises:
            ValueError: One of them is out of range.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if "range" in one.metadata:
                least, most = one.metadata["range"]
                if not least <= value <= most:  # nor is what is not a number
                    raise ValueError(f"{one.name} must be {least} to {most}, not {value}")
            elif value not in one.metadata.get("words", (value,)):
                raise ValueError(f"{one.name} must be one of {one.metadata['words']}, not {value}")

    @property
    def policy(self) -> Policy | None:
        """What the engine wants of compression; None: there is none."""
        if not self.deflate:
            return None
        return Policy(
            server_takeover=self.deflate_takeover in ("server", "both"),
            client_takeover=self.deflate_takeover in ("client", "both"),
            window_bits=self.deflate_window_bits,
        )
