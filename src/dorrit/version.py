"""Which version this is; at the bottom, so that no module has to import the package's root."""

__version__ = "0.1.0"
"""The version of dorrit."""
