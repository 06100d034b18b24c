"""`dorrit.engine.deliver` has nothing that Python sees."""
