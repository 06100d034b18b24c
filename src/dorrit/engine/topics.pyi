"""The topics of an engine's connections."""

def check_topic(topic: str) -> None:
    """Look whether something can be a topic.

    Raises:
        TypeError: It is not a str.
        ValueError: It can't be a topic.
    """
