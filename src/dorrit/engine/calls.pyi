"""`dorrit.engine.calls` has nothing that Python sees."""
