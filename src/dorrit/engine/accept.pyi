"""`dorrit.engine.accept` has nothing that Python sees."""
