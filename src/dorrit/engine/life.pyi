"""`dorrit.engine.life` has nothing that Python sees."""
