"""An echo server for the cases that the rules of the five functions exclude.

It is served with the options that the cases need: see `tests.conformance.modes`.
"""

import dorrit

app = dorrit.Server("echo")


@app.on_message
def echo(conn: dorrit.Connection, message: str | bytes) -> None:
    conn.send(message)
