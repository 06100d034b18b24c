"""Counter: counts what each client says, and goes on counting when its code is changed.

Run it with: dorrit serve counter.py:app -x -l /tmp/counter.socket
Edit it, and have it reloaded with: dorrit reload counter
"""

from dorrit import Server

app = Server("counter")


@app.on_open
def joined(conn):
    conn.data = 0


@app.on_message
def said(conn, message):
    conn.data += 1
    conn.save(str(conn.data).encode())
    conn.send(f"{conn.data}: {message}")


@app.on_resume
def resumed(conn, state):
    # Who has said nothing yet has no state.
    conn.data = int(state or b"0")


if __name__ == "__main__":
    app.run()
