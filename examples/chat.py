"""Chat: everybody in the room hears what one of them says.

Run it with: dorrit serve chat.py:app -x -l /tmp/chat.socket
Try it, with its page: dorrit dev chat.py:app --static chat_page
"""

from dorrit import Reject, Server

app = Server("chat")


@app.on_open
def joined(conn):
    name = conn.request.query.get("name", "").strip()
    if not name:
        raise Reject(400, body="a name is missing: connect to /?name=...\n")
    conn.data = name
    conn.subscribe("room")


@app.on_subscribed
def entered(conn, topic, recovered):
    app.publish(topic, f"{conn.data} has joined")


@app.on_message
def said(conn, message):
    app.publish("room", f"{conn.data}: {message}")


@app.on_close
def left(conn, code, reason):
    app.publish("room", f"{conn.data} has left")


if __name__ == "__main__":
    app.run()
