"""`dorrit.engine.ping` has nothing that Python sees."""
