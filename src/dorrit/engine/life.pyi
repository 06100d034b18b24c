"""What Python sees of `dorrit.engine.life`."""

def transitions() -> list[tuple[str, str, str, str]]:
    """The table, for the documentation: state, event, next state and what is done."""
