"""History: a chat that tells who joins what was said before, from a database.

Run it with: dorrit serve history.py:app -x -l /tmp/history.socket
Try it, with the page of the chat: dorrit dev history.py:app --static chat_page
It needs: pip install aiosqlite
"""

import aiosqlite

from dorrit import Reject, Server

app = Server("history")


@app.on_start
async def open_database():
    app.database = await aiosqlite.connect("history.sqlite3", isolation_level=None)
    await app.database.execute(
        "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, line TEXT NOT NULL)"
    )


@app.on_stop
async def close_database():
    await app.database.close()


@app.on_open
async def joined(conn):
    conn.data = conn.request.query.get("name", "").strip()
    if not conn.data:
        raise Reject(400, body="a name is missing: connect to /?name=...\n")
    last = await app.database.execute_fetchall(
        "SELECT line FROM messages ORDER BY id DESC LIMIT 20"
    )
    for (line,) in reversed(list(last)):
        conn.send(line)
    conn.subscribe("room")


@app.on_message
async def said(conn, message):
    line = f"{conn.data}: {message}"
    await app.database.execute("INSERT INTO messages (line) VALUES (?)", [line])
    app.publish("room", line)


if __name__ == "__main__":
    app.run()
