"""`dorrit.engine.table` has nothing that Python sees."""
