"""`dorrit.engine.invariants` has nothing that Python sees."""
