"""`dorrit.engine.batch` has nothing that Python sees."""
