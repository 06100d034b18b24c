"""`dorrit.engine.writer` has nothing that Python sees."""
