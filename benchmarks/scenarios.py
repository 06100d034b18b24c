"""The loads, and the limits that the project has set itself."""

from dataclasses import dataclass

BARE = "bare C"
PEER = "picows, uvloop"
OURS = "dorrit"
BEFORE = "dorrit, before"
OBJECTS = "dorrit, objects"
TOPIC = "dorrit, topic"
ASYNC = "dorrit, async"
ASYNC_UVLOOP = "dorrit, async uvloop"
WEBSOCKETS = "websockets"


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
    """What dorrit wants to reach in a scenario: a ratio of server CPU for each message.

    Attributes:
        scenario: the load that it is about.
        server: whose CPU is looked at.
        reference: with whose it is compared.
        at_most: the server takes at most so many times what the reference takes.
    """

    scenario: Scenario
    server: str
    reference: str
    at_most: float


LIMITS = (
    Limit(ONE_IN_FLIGHT, OURS, BARE, 1.3),
    Limit(ONE_IN_FLIGHT, OURS, PEER, 1 / 1.6),
    Limit(SIXTEEN_IN_FLIGHT, OURS, BARE, 2.0),
    Limit(SIXTEEN_IN_FLIGHT, OURS, PEER, 1 / 6.0),
    *(
        limit
        for scenario in REQUIRED
        for limit in (
            # Noise between two equal servers is about this much.
            Limit(scenario, OURS, BEFORE, 1.03),
            Limit(scenario, OBJECTS, OURS, 1.05),
        )
    ),
    Limit(SIXTEEN_IN_FLIGHT, ASYNC, PEER, 1 / 2),
    *(Limit(scenario, ASYNC, WEBSOCKETS, 1 / 3) for scenario in REQUIRED + FURTHER),
)
