"""`dorrit.engine.deadlines` has nothing that Python sees."""
