"""`dorrit.engine.framing` has nothing that Python sees."""
