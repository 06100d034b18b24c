"""Echo, with a Server object: sends every message back to the client it came from.

Run it with: dorrit serve object_echo.py:app -x -l /tmp/object_echo.socket
"""

from dorrit import Server

app = Server("echo")


@app.on_message
def echo(conn, message):
    conn.send(message)


if __name__ == "__main__":
    app.run()
