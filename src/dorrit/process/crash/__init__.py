"""A fault becomes a restart in place, or at the start a traceback."""
