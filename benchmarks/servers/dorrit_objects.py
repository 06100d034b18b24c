"""Echo with the objects of dorrit: a plain handler (`app`), and an `async` one (`async_app`)."""

from dorrit import Connection, Server

app = Server("objects")
async_app = Server("async")


@app.on_message
def echo(conn: Connection, message: str | bytes) -> None:
    """Send the message back."""
    conn.send(message)


@async_app.on_message
async def echo_later(conn: Connection, message: str | bytes) -> None:
    """Send the message back."""
    conn.send(message)
