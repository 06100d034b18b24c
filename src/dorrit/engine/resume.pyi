"""`dorrit.engine.resume` has nothing that Python sees."""
