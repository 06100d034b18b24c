"""What Python sees of `dorrit.engine.passed`: nothing."""
