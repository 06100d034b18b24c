"""Chat whose code is changed while people talk: they stay connected, and everybody keeps the name.

Run it with: dorrit serve live_chat.py:app -x -l /tmp/live_chat.socket
Edit it, and have it reloaded with: dorrit reload /tmp/live_chat.socket
"""

from dorrit import Reject, Server

app = Server("live_chat")


@app.on_open
def joined(conn):
    name = conn.request.query.get("name", "").strip()
    if not name:
        raise Reject(400, body="a name is missing: connect to /?name=...\n")
    conn.data = name
    conn.save(name.encode())
    conn.subscribe("room")


@app.on_subscribed
def entered(conn, topic, recovered):
    app.publish(topic, f"{conn.data} has joined")


@app.on_resume
def back(conn, state):
    conn.data = state.decode()


@app.on_message
def said(conn, message):
    app.publish("room", f"{conn.data}: {message}")


@app.on_close
def left(conn, code, reason):
    app.publish("room", f"{conn.data} has left")


if __name__ == "__main__":
    app.run()
