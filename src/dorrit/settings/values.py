"""The settings as types, made from the table by `make docs`: don't change them here."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TypedDict


class Settings(NamedTuple):
    """The values of one run; each is described in `SETTINGS`."""

    # made from the settings: values
    buffer_size: int = 65540
    listen: str | None = None
    max_connections: int = 16384
    user: str | None = None
    group: str | None = None
    foreground: bool = False
    supervise: bool | None = None
    preload: bool = False
    no_restart: bool = False
    config_file: str | None = None
    log_level: str = "info"
    log: str | None = None
    log_format: str = "text"
    access_log: bool = False
    slow_handler: float = 1.0
    origin: tuple[str, ...] = ()
    trust: str | None = None
    allow_peer: tuple[str, ...] = ()
    health: str | None = None
    rfc: bool = False
    max_message: int = 1048576
    deflate: bool = False
    deflate_takeover: str = "none"
    deflate_keep_window: bool = False
    deflate_window_bits: int = 15
    deflate_from: int = 128
    handshake_timeout: float = 10.0
    max_head: int = 65536
    max_handshakes: int = 1024
    max_per_client: int = 0
    max_message_rate: int = 0
    close_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_buffered: int = 268435456
    slow_clients: str = "refuse"
    max_pending_bytes: int = 0
    max_topics: int = 100
    max_publish: int = 1048576
    ping_interval: float = 0.0
    ping_timeout: float = 20.0
    idle_timeout: float = 0.0
    max_lifetime: float = 0.0
    max_waiting: int = 16
    stop_grace: float = 5.0
    resume_timeout: float = 60.0
    event_loop: str = "auto"
    keep_requests: bool = False
    # end of values


class ServerSettings(TypedDict, total=False):
    """What code may give; each is described in `SETTINGS`, and checked by `check`."""

    # made from the settings: what code may give
    buffer_size: int
    listen: str | os.PathLike[str] | None
    max_connections: int
    user: str | int | None
    group: str | int | None
    foreground: bool
    supervise: bool | None
    preload: bool
    no_restart: bool
    config_file: str | os.PathLike[str] | None
    log_level: str
    log: str | os.PathLike[str] | None
    log_format: str
    access_log: bool
    slow_handler: float
    origin: str | Sequence[str]
    trust: str | None
    allow_peer: str | int | Sequence[str | int]
    health: str | None
    rfc: bool
    max_message: int
    deflate: bool
    deflate_takeover: str
    deflate_keep_window: bool
    deflate_window_bits: int
    deflate_from: int
    handshake_timeout: float
    max_head: int
    max_handshakes: int
    max_per_client: int
    max_message_rate: int
    close_timeout: float
    stop_timeout: float
    max_buffered: int
    slow_clients: str
    max_pending_bytes: int
    max_topics: int
    max_publish: int
    ping_interval: float
    ping_timeout: float
    idle_timeout: float
    max_lifetime: float
    max_waiting: int
    stop_grace: float
    resume_timeout: float
    event_loop: str
    keep_requests: bool
    # end of what code may give
