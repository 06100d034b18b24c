"""`dorrit.engine.carry_out` has nothing that Python sees."""
