"""`dorrit.engine.record` has nothing that Python sees."""
