"""The counter of the examples, which crashes as well when a client tells it to."""

from dorrit import Connection, Server
from examples import counter
from tests.live.numbers import crash_if_told

app = Server("counter")
app.on_open(counter.joined)
app.on_resume(counter.resumed)


@app.on_message
def said(conn: Connection, message: str | bytes) -> None:
    if isinstance(message, bytes):
        crash_if_told(message)
    counter.said(conn, message)
