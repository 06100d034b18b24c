"""`dorrit.engine.message` has nothing that Python sees."""
