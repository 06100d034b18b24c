"""Fuzzers: each names the only outcomes that are allowed, and takes everything else for a fault."""
