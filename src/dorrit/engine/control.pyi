"""Nothing here is for Python: only the engine uses `dorrit.engine.control`."""
