"""`dorrit.engine.fork` has nothing that Python sees."""
