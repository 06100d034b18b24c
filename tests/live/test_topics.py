"""L5, T1: who has subscribed to what outlives a reload, a crash and SIGKILL of a real server."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.test_supervisor import workers_of
from tests.live.server import AT_ONCE
from tests.support import proc
from tests.support.servers import Client, Run, Servers, dorrit, until, until_it_sleeps

SERVER = """
import ctypes
from dorrit import Server

app = Server("topics")

@app.on_open
def joined(conn):
    pass

@app.on_resume
def back(conn, state):
    pass

@app.on_message
def said(conn, message):
    command, _, rest = message.partition(" ")
    if command == "subscribe":
        conn.send(str(conn.subscribe(rest)))
    elif command == "unsubscribe":
        conn.unsubscribe(rest)
        conn.send("done")
    elif command == "publish":
        topic, _, words = rest.partition(" ")
        app.publish(topic, words, exclude=conn)
        conn.send(str(app.count(topic)))
    elif command == "crash":
        app.publish(rest, "the last words")
        ctypes.string_at(0)
    else:
        conn.send(" ".join(sorted(conn.topics)))
"""

PROCEDURAL = """
import ctypes
from dorrit import ws_publish, ws_subscribe, ws_unsubscribe, ws_write_conn

def ws_init_func():
    pass

def ws_open_callback(conn, cookie):
    return 0

def ws_resume_callback(conn, cookie, state):
    pass

def ws_close_callback(conn):
    pass

def ws_exit_func():
    pass

def ws_read_callback(conn, binary, data):
    command, _, rest = data.decode().partition(" ")
    answer = " ".join(sorted(conn.topics))
    if command == "subscribe":
        answer = str(ws_subscribe(conn, rest) == 0)
    elif command == "unsubscribe":
        ws_unsubscribe(conn, rest)
        answer = "done"
    elif command == "publish":
        topic, _, words = rest.partition(" ")
        topics = conn.topics
        ws_unsubscribe(conn, topic)
        ws_publish(topic, False, words)
        if topic in topics:
            ws_subscribe(conn, topic)
        answer = "published"
    elif command == "crash":
        ws_publish(rest, False, "the last words")
        ctypes.string_at(0)
    ws_write_conn(conn, False, answer)
"""

SERVERS = pytest.mark.parametrize("source", [SERVER, PROCEDURAL], ids=["handlers", "functions"])


def until_served_again(run: Run, action: Callable[[], object]) -> Any:
    served = run.err.count(" listening on ")
    done = action()
    until(lambda: run.err.count(" listening on ") > served, "the next image")
    return done


def reload(servers: Servers) -> None:
    done = servers.run(*dorrit("reload", servers.path))
    assert done.process.returncode == 0, done.err


def crash(servers: Servers, topic: str) -> None:
    culprit = servers.connect()
    assert culprit.ask(f"subscribe {topic}") == "True"
    culprit.send(f"crash {topic}")
    assert culprit.close_code() == 1011


def kill(run: Run) -> None:
    worker = proc.oldest(workers_of(run.pid))
    until_it_sleeps(worker)
    os.kill(worker, signal.SIGKILL)


def who_hears(said: str, speaker: Client, *clients: Client) -> None:
    """What one publishes to the topic `a` reaches those who have it, and they hear nothing else."""
    speaker.ask(f"publish a {said}")
    assert [client.text() for client in clients] == [said] * len(clients)


@SERVERS
@pytest.mark.parametrize("options", [[], ["--supervise"]], ids=["alone", "supervised"])
def test_L5_subscribers_are_where_they_were_after_each_kind_of_restart(
    servers: Servers, source: str, options: list[str]
) -> None:
    file = servers.directory / "topics.py"
    file.write_text(source)
    run = servers.serve(file, *options, env=os.environ | {"PYTHONPATH": AT_ONCE})
    first, second, third = (servers.connect() for _ in range(3))
    for client, topics in ((first, "ab"), (second, "a"), (third, "b")):
        for topic in topics:
            assert client.ask(f"subscribe {topic}") == "True"
    who_hears("before", third, first, second)
    until_served_again(run, lambda: reload(servers))
    assert [client.ask("topics") for client in (first, second, third)] == ["a b", "a", "b"]
    who_hears("after a reload", third, first, second)
    assert first.ask("unsubscribe a") == "done"
    assert third.ask("subscribe a") == "True"
    until_served_again(run, lambda: crash(servers, "a"))
    assert [second.text(), third.text()] == ["the last words"] * 2
    who_hears("after a crash", first, second, third)
    if options:
        until_served_again(run, lambda: kill(run))
        who_hears("after SIGKILL", first, second, third)
    assert first.ask("topics") == "b"
    second.close()
    assert servers.stop(run) == 0
