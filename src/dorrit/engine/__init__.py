"""The engine: owns descriptors, buffers, queues, time; knows no users, files and signals."""

from dorrit.engine.broadcast import broadcast, queue_message
from dorrit.engine.connection import Connection, connections_alive
from dorrit.engine.engine import Engine
from dorrit.engine.frame import frames_alive
from dorrit.engine.head import PENDING
from dorrit.engine.peer import Peer
from dorrit.engine.recovered import Recovered
from dorrit.engine.timers import Timer

__all__ = [
    "PENDING",
    "Connection",
    "Engine",
    "Peer",
    "Recovered",
    "Timer",
    "broadcast",
    "connections_alive",
    "frames_alive",
    "queue_message",
]
