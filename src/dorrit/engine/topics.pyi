"""The topics of an engine's connections."""
