"""The example that speaks first: ``examples/clock.py`` in Chromium."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.integration.clients import page_address
from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import service_directory

LISTEN = """
([url, clients]) => new Promise((resolve, reject) => {
  const heardBy = Array.from({length: clients}, () => []);
  const isTime = (text) => /^\\d/.test(text);
  const isAnswered = (heard) => heard.slice(1).some((text) => !isTime(text));
  const hasCome = () => heardBy.every(isAnswered)
    && heardBy[0].some((text) => isTime(text) && heardBy.every((heard) => heard.includes(text)));
  for (const heard of heardBy) {
    const socket = new WebSocket(url);
    socket.onmessage = ({data}) => {
      heard.push(data);
      if (heard.length === 1) socket.send("how long?");
      if (hasCome()) resolve(heardBy);
    };
    socket.onclose = ({code}) => reject(new Error(`closed with ${code}`));
  }
})
"""
"""What all have heard once each has an answer, and all have one time in common."""


@pytest.fixture(scope="module")
def clock_url() -> Iterator[str]:
    with service_directory() as directory:
        socket_path = directory / "clock.socket"
        with (
            dorrit_serve(EXAMPLES / "clock.py", socket_path),
            nginx_in_front_of(socket_path) as nginx,
        ):
            yield nginx.url


def test_R9_R14_R15_browsers_hear_the_greeting_the_answer_and_the_time(
    page: Page, clock_url: str
) -> None:
    page.goto(page_address(clock_url))

    # The greeting, the answer, and what is told to all once a second, for as long as that takes.
    heard_by = page.evaluate(LISTEN, [clock_url, 2])

    for greeting, *others in heard_by:
        assert greeting.startswith("Hello.")
        answers = [text for text in others if text.startswith("You have been here for ")]
        times = [text for text in others if re.fullmatch(r"\d\d:\d\d:\d\d", text)]
        assert len(answers) == 1
        assert len(times) == len(others) - 1
    one, other = ({text for text in heard if text[0].isdigit()} for heard in heard_by)
    assert one & other, "the time is told to all clients at once"
