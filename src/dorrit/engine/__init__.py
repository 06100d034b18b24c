"""The engine: owns descriptors, buffers, queues, time; knows no users, files and signals."""

from dorrit.engine.connection import Connection, connections_alive, was_closed_here
from dorrit.engine.frame import frames_alive
from dorrit.engine.loop import Engine
from dorrit.engine.messages import broadcast, queue_message
from dorrit.engine.opening import PENDING
from dorrit.engine.peer import Peer
from dorrit.engine.timekeeper import Timer

__all__ = [
    "PENDING",
    "Connection",
    "Engine",
    "Peer",
    "Timer",
    "broadcast",
    "connections_alive",
    "frames_alive",
    "queue_message",
    "was_closed_here",
]
