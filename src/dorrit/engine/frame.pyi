"""What Python sees of `dorrit.engine.frame`; the frames themselves stay in the engine."""

def frames_alive() -> int:
    """The number of frames that exist in this process (for tests and statistics)."""
