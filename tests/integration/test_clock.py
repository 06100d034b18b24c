"""The example that speaks first: ``examples/clock.py`` in Chromium."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.integration.clients import page_address
from tests.integration.dorrit_server import EXAMPLES, dorrit_serve
from tests.integration.nginx import nginx_in_front_of
from tests.integration.processes import service_directory

pytestmark = pytest.mark.timeout(60)

LISTEN = """
([url, clients, wanted]) => Promise.all(Array.from({length: clients}, () =>
  new Promise((resolve, reject) => {
    const heard = [];
    const socket = new WebSocket(url);
    socket.onmessage = ({data}) => {
      heard.push(data);
      if (heard.length === 1) socket.send("how long?");
      if (heard.length === wanted) resolve(heard);
    };
    socket.onclose = ({code}) => reject(new Error(`closed with ${code}`));
  })
))
"""


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

    # The greeting, the answer, and at least one of what is told to all once a second.
    heard_by = page.evaluate(LISTEN, [clock_url, 2, 4])

    for greeting, *others in heard_by:
        assert greeting.startswith("Hello.")
        answers = [text for text in others if text.startswith("You have been here for ")]
        times = [text for text in others if re.fullmatch(r"\d\d:\d\d:\d\d", text)]
        assert len(answers) == 1
        assert len(times) == 2
    one, other = ({text for text in heard if text[0].isdigit()} for heard in heard_by)
    assert one & other, "the time is told to all clients at once"
