"""`dorrit.engine.turn` has nothing that Python sees."""
