"""`dorrit.engine.write` has nothing that Python sees."""
