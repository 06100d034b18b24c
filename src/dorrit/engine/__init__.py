"""The engine: owns descriptors, buffers, queues and time; knows nothing of users, files or signals."""

from dorrit.engine.connection import Connection, connections_alive, queue_message
from dorrit.engine.frame import frames_alive
from dorrit.engine.loop import Engine, Timer

__all__ = [
    "Connection",
    "Engine",
    "Timer",
    "connections_alive",
    "frames_alive",
    "queue_message",
]
