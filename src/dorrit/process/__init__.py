"""What a UNIX daemon is made of: one module each. Knows nothing of the engine's insides."""
