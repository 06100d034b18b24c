"""WebSocket clients of three makes, each of which sends messages and returns what comes back."""

import base64
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page
from websockets.sync.client import connect

from tests.integration.messages import Message
from tests.integration.processes import DEADLINE, find_program

Client = Callable[[str, Sequence[Message]], list[Message]]
"""Sends all messages over one connection without waiting, and returns as many answers."""

NODE_SCRIPT = Path(__file__).parent / "ws_client.mjs"

CHROMIUM_SCRIPT = """
([url, messages]) => new Promise((resolve, reject) => {
  const answers = [];
  const toText = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    for (const message of messages) {
      socket.send(typeof message === "string"
        ? message
        : Uint8Array.from(atob(message.binary), (character) => character.charCodeAt(0)));
    }
  };
  socket.onmessage = ({data}) => {
    answers.push(typeof data === "string"
      ? data
      : {binary: btoa(toText(new Uint8Array(data)))});
    if (answers.length === messages.length) socket.close(1000);
  };
  socket.onclose = ({code, reason, wasClean}) => {
    if (code === 1000 && wasClean) resolve(answers);
    else reject(new Error(`closed with ${code} "${reason}" after ${answers.length} answers`));
  };
})
"""


def _to_json(messages: Sequence[Message]) -> list[Any]:
    return [
        message if isinstance(message, str) else {"binary": base64.b64encode(message).decode()}
        for message in messages
    ]


def _from_json(values: list[Any]) -> list[Message]:
    return [
        value if isinstance(value, str) else base64.b64decode(value["binary"]) for value in values
    ]


def page_address(url: str) -> str:
    """Return the address of a page on the server that has the WebSocket ``url``."""
    return f"http://{urlsplit(url).netloc}/"


def exchange_by_websockets(url: str, messages: Sequence[Message]) -> list[Message]:
    """Exchange messages as the websockets library does."""
    with connect(url, proxy=None, open_timeout=DEADLINE, max_size=None) as connection:
        for message in messages:
            connection.send(message)
        return [connection.recv(DEADLINE) for _ in messages]


def exchange_by_node_ws(url: str, messages: Sequence[Message]) -> list[Message]:
    """Exchange messages as Node.js's ws does."""
    result = subprocess.run(
        [find_program("node"), NODE_SCRIPT, url],
        input=json.dumps(_to_json(messages)),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return _from_json(json.loads(result.stdout))


def exchange_by_chromium(page: Page, url: str, messages: Sequence[Message]) -> list[Message]:
    """Exchange messages as a page in Chromium does."""
    if page.url != page_address(url):
        page.goto(page_address(url))
    return _from_json(page.evaluate(CHROMIUM_SCRIPT, [url, _to_json(messages)]))
