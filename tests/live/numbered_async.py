"""A server for `traffic.c` whose handlers are `async`, and take their time now and then."""

import asyncio

from dorrit import Connection, Server
from tests.live.numbers import COUNT, answers, crash_if_told

app = Server("numbered")


@app.on_open
async def joined(conn: Connection) -> None:
    await asyncio.sleep(0)
    conn.data = 0


@app.on_resume
async def back(conn: Connection, state: bytes | None) -> None:
    await asyncio.sleep(0)
    conn.data = COUNT.unpack(state)[0] if state else 0


@app.on_message
async def said(conn: Connection, message: bytes) -> None:
    crash_if_told(message)
    heard = conn.data + 1
    if heard % 5 == 0:
        await asyncio.sleep(0.001)
    for answer in answers(message, heard):
        await conn.drain()
        conn.send(answer)
    conn.data = heard
    conn.save(COUNT.pack(heard))
