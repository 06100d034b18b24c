"""`dorrit.engine.input` has nothing that Python sees."""
