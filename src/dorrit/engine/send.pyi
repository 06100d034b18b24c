"""`dorrit.engine.send` has nothing that Python sees."""
