"""The page of ``dorrit dev``, used as a person uses it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.integration.clients import page_address
from tests.integration.processes import DEADLINE

pytestmark = pytest.mark.timeout(300)

expect.set_options(timeout=DEADLINE * 1000)


@pytest.fixture
def dev_page(page: Page, dev_url: str) -> Iterator[Page]:
    """The page, connected by its button; nothing goes wrong in it unseen."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.goto(page_address(dev_url))
    expect(status(page)).to_have_text("Not connected")
    button(page, "Connect").click()
    expect(status(page)).to_have_text(f"Connected to {dev_url}")
    yield page
    assert complaints == []


def status(page: Page) -> Locator:
    return page.get_by_role("status")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def rows(page: Page, direction: str) -> Locator:
    """Return the rows of the log whose message was ``sent`` or ``received``."""
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=direction, exact=True))


def test_text_is_sent_and_its_echo_shown(dev_page: Page) -> None:
    dev_page.get_by_label("Message", exact=True).fill("Grüße, 世界 😀 <b>")
    dev_page.get_by_label("Message", exact=True).press("Enter")

    expect(rows(dev_page, "sent")).to_contain_text("Grüße, 世界 😀 <b>")
    expect(rows(dev_page, "received")).to_contain_text("Grüße, 世界 😀 <b>")


def test_bytes_are_sent_and_their_echo_shown(dev_page: Page) -> None:
    form = dev_page.locator("form#message")
    form.get_by_label("Message").fill("00 ff 7f")
    form.get_by_label("Send as").select_option("binary (hex)")
    form.get_by_role("button", name="Send").click()

    expect(rows(dev_page, "received")).to_contain_text("00 ff 7f")
    expect(rows(dev_page, "received")).to_contain_text("binary")


def test_R30_the_largest_message_comes_back_and_one_more_byte_is_refused(dev_page: Page) -> None:
    size = dev_page.get_by_label("Generated message, bytes")
    size.fill("65535")
    size.press("Enter")
    expect(rows(dev_page, "received")).to_contain_text("65,535")

    size.fill("65536")
    size.press("Enter")

    expect(status(dev_page)).to_have_text(re.compile(r"Closed: 1009, message too big"))


def test_R5_disconnecting_is_a_clean_close_and_connecting_again_works(
    dev_page: Page, dev_url: str
) -> None:
    button(dev_page, "Disconnect").click()
    expect(status(dev_page)).to_have_text(re.compile(r"Closed: 1000, normal closure"))
    expect(button(dev_page, "Disconnect")).to_be_disabled()

    button(dev_page, "Connect").click()

    expect(status(dev_page)).to_have_text(f"Connected to {dev_url}")
