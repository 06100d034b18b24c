"""The chat and its page: ``examples/chat.py`` behind ``dorrit dev``, people in Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.dorrit_server import EXAMPLES, dorrit_dev
from tests.integration.processes import DEADLINE

pytestmark = pytest.mark.timeout(300)

expect.set_options(timeout=DEADLINE * 1000)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with dorrit_dev(f"{EXAMPLES / 'chat.py'}:app", "--static", EXAMPLES / "chat_page") as address:
        yield address


@pytest.fixture
def people(browser: Browser, address: str) -> Iterator[list[Page]]:
    """Two people, each with a browser window of their own; nothing goes wrong there unseen."""
    complaints: list[str] = []
    with browser.new_context() as one, browser.new_context() as other:
        pages = [one.new_page(), other.new_page()]
        for page in pages:
            page.set_default_timeout(DEADLINE * 1000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(address)
        yield pages
    assert complaints == []


def join(page: Page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_label("Message", exact=True)).to_be_visible()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def heard(page: Page, *lines: str) -> None:
    expect(page.get_by_role("list", name="Messages").get_by_role("listitem")).to_have_text(lines)


def test_people_hear_each_other_in_order_and_who_comes_and_goes(people: list[Page]) -> None:
    ann, bob = people
    join(ann, "Änn & Co")
    heard(ann, "Änn & Co has joined")
    join(bob, "Bob")
    say(bob, "hello")
    heard(bob, "Bob has joined", "Bob: hello")
    say(ann, "grüße <b>")
    heard(ann, "Änn & Co has joined", "Bob has joined", "Bob: hello", "Änn & Co: grüße <b>")
    heard(bob, "Bob has joined", "Bob: hello", "Änn & Co: grüße <b>")
    bob.close()
    expect(ann.get_by_role("listitem").last).to_have_text("Bob has left")


def test_what_others_write_is_text_and_no_html(people: list[Page]) -> None:
    ann, bob = people
    join(ann, "Ann")
    join(bob, "Bob")
    say(bob, "<img src=x onerror='document.title = 1'>")
    expect(ann.get_by_role("listitem").last).to_have_text(
        "Bob: <img src=x onerror='document.title = 1'>"
    )
    assert ann.locator("img").count() == 0


def test_a_name_of_blanks_is_refused_and_the_page_says_so(people: list[Page]) -> None:
    ann, _ = people
    ann.get_by_label("Your name").fill("  ")
    ann.get_by_role("button", name="Join").click()
    expect(ann.get_by_role("status")).to_have_text("Not connected.")
    join(ann, "Ann")
    expect(ann.get_by_role("status")).to_have_text("")
