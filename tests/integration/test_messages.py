"""Every client exchanges messages of every kind with the echo server, through every front."""

import pytest

from tests.integration.clients import Client
from tests.integration.messages import Message, all_messages

MESSAGES = all_messages()


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_R36_message_comes_back_unchanged(client: Client, echo_url: str, message: Message) -> None:
    assert client(echo_url, [message]) == [message]


def test_R6_messages_sent_at_once_come_back_whole_and_in_order(
    client: Client, echo_url: str
) -> None:
    messages = [*MESSAGES.values()] * 3

    assert client(echo_url, messages) == messages
