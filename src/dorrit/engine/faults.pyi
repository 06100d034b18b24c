"""`dorrit.engine.faults` has nothing that Python sees."""
