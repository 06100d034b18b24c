"""Benchmarks: servers side by side on one machine, in one run. See ``README.md`` in this folder."""
