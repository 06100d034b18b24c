"""`dorrit.engine.descriptors` has nothing that Python sees."""
