"""The engine: owns descriptors, buffers, queues, time; knows no users, files and signals."""

from dorrit.engine.connection import Connection, connections_alive
from dorrit.engine.frame import frames_alive
from dorrit.engine.loop import Engine, Timer
from dorrit.engine.messages import queue_message

__all__ = [
    "Connection",
    "Engine",
    "Timer",
    "connections_alive",
    "frames_alive",
    "queue_message",
]
