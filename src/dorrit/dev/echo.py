"""What ``dorrit dev`` runs if no server is named: it sends every message back."""

from dorrit.api.server import Server
from dorrit.engine import Connection

app: Server = Server("echo")


@app.on_message
def echo(conn: Connection, message: str | bytes) -> None:
    """Send a message back to who has sent it."""
    conn.send(message)
