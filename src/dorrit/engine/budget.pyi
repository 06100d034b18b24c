"""`dorrit.engine.budget` has nothing that Python sees."""
