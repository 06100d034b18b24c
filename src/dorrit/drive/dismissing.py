"""Tells connections that an image has carried out, and that no server will take, to go."""

import logging
from typing import Final

from dorrit.drive.carried import carry_in
from dorrit.engine import Engine
from dorrit.engine.limits import Limits
from dorrit.process.exec.handover import Handover
from dorrit.protocol.closing import CloseCode
from dorrit.protocol.refusal import STOPPING, refusal

logger: logging.Logger = logging.getLogger("dorrit")

STOPPED: Final = CloseCode.GOING_AWAY
START_FAILED: Final = CloseCode.SERVICE_RESTART


def dismiss_carried(handover: Handover, code: int, seconds: float) -> None:
    """End the connections of a handover in order, without any of the server's functions.

    Args:
        handover: What tells of them; if it does not, nothing happens.
        code: Why they are closed.
        seconds: How long they have; then they are cut off.
    """
    if handover.ledger is None:
        return
    engine = Engine(
        on_open=lambda *_: refusal(*STOPPING),
        on_message=lambda *_: None,
        on_close=lambda *_: None,
        limits=Limits(),
    )
    try:
        carry_in(engine, handover)
        engine.shutdown(seconds, code)
    except (OSError, ValueError) as error:
        logger.error("the connections can't be told to go: %s", error)  # noqa: TRY400 - it says all
    finally:
        engine.close()
