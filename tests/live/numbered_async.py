"""A server for `traffic.c` whose handlers are `async`, and take their time now and then."""

import asyncio
from dataclasses import dataclass

from dorrit import Connection, Server
from tests.live.numbers import ASKED, PROGRESS, answers, crash_if_told, number_of

app = Server("numbered")


@dataclass
class Client:
    """What is known of one: its number, and how far the server is with it.

    Attributes:
        number: The client's own number.
        heard: How many of its messages have been handled.
        told: How many answers to the next one have been sent.
    """

    number: int
    heard: int = 0
    told: int = 0


def save(conn: Connection) -> None:
    conn.save(PROGRESS.pack(conn.data.heard, conn.data.told))


@app.on_open
async def joined(conn: Connection) -> None:
    client = Client(number_of(conn.request.cookie))
    await asyncio.sleep(0)
    conn.data = client


@app.on_resume
async def back(conn: Connection, state: bytes | None, begun: bytes | None) -> None:
    client = Client(number_of(conn.request.cookie), *PROGRESS.unpack(state or bytes(PROGRESS.size)))
    await asyncio.sleep(0)
    conn.data = client
    # A handler may have done all of its work without having returned.
    if begun is not None and ASKED.unpack_from(begun)[0] == client.heard:
        await said(conn, begun)


@app.on_message
async def said(conn: Connection, message: bytes) -> None:
    crash_if_told(message)
    client: Client = conn.data
    heard = client.heard + 1
    if heard % 5 == 0:
        await asyncio.sleep(0.001)
    for answer in answers(message, client.number, heard, client.told):
        await conn.drain()
        conn.send(answer)
        client.told += 1
        save(conn)
    client.heard, client.told = heard, 0
    save(conn)
