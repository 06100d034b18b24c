"""Confirmation: what is awaited until a subscription stands (`Connection.subscribed`)."""

import asyncio

from dorrit.engine import Connection, Recovered


async def subscribed(conn: Connection, topic: str) -> Recovered | None:
    """Wait until a subscription stands; None: there is none."""
    # In one process it does at once. Others have their turn, as they have elsewhere.
    await asyncio.sleep(0)
    return Recovered() if conn.is_open and topic in conn.topics else None
