"""The loads, and the limits that the project has set itself for two of them."""

from dataclasses import dataclass

BARE = "bare C"
PEER = "picows, uvloop"
OURS = "dorrit"


@dataclass(frozen=True)
class Scenario:
    """A load.

    Attributes:
        name: short, for the command line and the results.
        size: bytes of payload.
        connections: clients that are connected.
        in_flight: messages that each sender keeps on the way.
        senders: ``0`` for an echo (everyone sends); else how many send to all.
    """

    name: str
    size: int
    connections: int
    in_flight: int
    senders: int = 0


ONE_IN_FLIGHT = Scenario("echo-64-1", size=64, connections=100, in_flight=1)
SIXTEEN_IN_FLIGHT = Scenario("echo-64-16", size=64, connections=100, in_flight=16)
REQUIRED = (ONE_IN_FLIGHT, SIXTEEN_IN_FLIGHT)

FURTHER = (
    Scenario("echo-1024-1", size=1024, connections=100, in_flight=1),
    Scenario("echo-60000-1", size=60_000, connections=100, in_flight=1),
    Scenario("fan-out", size=64, connections=1000, in_flight=8, senders=4),
)


@dataclass(frozen=True)
class Limit:
    """What dorrit wants to reach in a scenario, as ratios of server CPU for each message.

    Attributes:
        scenario: the load that it is about.
        times_bare: at most so many times what the bare C server takes.
        less_than_peer: picows on uvloop takes at least so many times what dorrit takes.
    """

    scenario: Scenario
    times_bare: float
    less_than_peer: float


LIMITS = (
    Limit(ONE_IN_FLIGHT, times_bare=1.3, less_than_peer=1.6),
    Limit(SIXTEEN_IN_FLIGHT, times_bare=2.0, less_than_peer=6.0),
)
