"""Every message to everyone with the objects of dorrit: plain (`app`), `async` (`async_app`)."""

from dorrit import Connection, Server

app = Server("objects")
async_app = Server("async")


@app.on_message
def pass_on(_conn: Connection, message: str | bytes) -> None:
    """Pass one message on."""
    app.broadcast(app.connections, message)


@async_app.on_message
async def pass_on_later(_conn: Connection, message: str | bytes) -> None:
    """Pass one message on."""
    async_app.broadcast(async_app.connections, message)
