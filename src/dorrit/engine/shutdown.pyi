"""`dorrit.engine.shutdown` has nothing that Python sees."""
