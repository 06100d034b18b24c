"""Wrong uses of the public API. A type checker must find something in each line marked so.

mypy and pyright read this; nothing runs it.
"""

import dorrit
import dorrit.testing
from dorrit import Connection, Reject, Request, Server, ServerSettings

app = Server("chat", buffersize=1000)  # wrong: no such setting
app = Server("chat", buffer_size="1000")  # wrong: a number
app = Server(7)  # wrong: a name
settings: ServerSettings = {"origins": "same"}  # wrong: no such setting
settings = {"trust": 5}  # wrong: a header's name
settings["ping"] = 20  # wrong: no such setting


class Special(Connection):  # wrong: the server makes these
    pass


def tick(conn: Connection) -> None:
    conn.send(7)  # wrong: a number
    conn.send(["text"])  # wrong: a list
    conn.send()  # wrong: no message
    conn.close("bye")  # wrong: the code comes first
    conn.close(reason=5)  # wrong: a text
    conn.write("text")  # wrong: no such method
    conn.is_open = False  # wrong: that is for reading
    conn.pending = 0  # wrong: that is for reading
    app.broadcast("text")  # wrong: for whom
    app.broadcast(conn, "text")  # wrong: for many
    app.broadcast([conn], 7)  # wrong: a number
    app.call_soon_threadsafe(7)  # wrong: no function
    app.connections = []  # wrong: that is for reading


app.every("30")  # wrong: a number
app.every(30)(7)  # wrong: no function
app.onmessage(tick)  # wrong: no such event
app.run("-x")(tick)  # wrong: it returns nothing


def joined(request: Request) -> None:
    request.select(1)  # wrong: a name
    request.headers["Host"] = "example.org"  # wrong: that is for reading
    request.path = "/"  # wrong: that is for reading
    print(request.query["room"] + 1)  # wrong: a text
    print(request.host.lower())  # wrong: there may be none
    raise Reject("403")  # wrong: a number


Reject(403, headers={"X": 5})  # wrong: a text
Reject(403, body=5)  # wrong: a text or bytes

dorrit.listen("/run/chat.socket", on_message=tick)  # wrong: it takes a message, too
dorrit.listen("/run/chat.socket", on_open=7)  # wrong: no function
dorrit.listen("/run/chat.socket", buffersize=7)  # wrong: no such setting
dorrit.listen("/run/chat.socket", "chat")  # wrong: a server
dorrit.main(["-x"])  # wrong: it takes nothing


def five(conn: Connection) -> None:
    dorrit.ws_write_conn(conn, True, "text")  # wrong: bytes
    dorrit.ws_write_conn(conn, "text")  # wrong: of which kind
    dorrit.ws_close_conn(conn)  # wrong: at once or not
    dorrit.ws_set_data(conn)  # wrong: no object
    dorrit.ws_get_data(5)  # wrong: no connection
    dorrit.ws_set_name(5)  # wrong: a text
    dorrit.ws_set_periodic(30, tick)  # wrong: the function comes first
    dorrit.ws_set_periodic(tick, 30)  # wrong: it is called with nothing


with dorrit.testing.serve(app, buffersize=7) as server:  # wrong: no such setting
    with server.connect(7) as client:  # wrong: a text
        client.send(7)  # wrong: a number
        client.receive("1")  # wrong: a number
        print(client.receive() + "text")  # wrong: it may be bytes
        client.close("bye")  # wrong: the code comes first
    server.run()  # wrong: for how long


async def later() -> None:
    with dorrit.testing.serve_async(app):  # wrong: async with
        pass
    async with dorrit.testing.serve_async(app) as another:
        await another.connect()  # wrong: async with
    async with dorrit.testing.connect("/run/chat.socket") as client:  # wrong: with
        pass
    async with dorrit.testing.connect_async() as client:  # wrong: to where
        client.receive().lower()  # wrong: await
