"""`dorrit.engine.expiry` has nothing that Python sees."""
