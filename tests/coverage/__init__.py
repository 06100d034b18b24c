"""Which lines and branches of each module its own tests reach: see docs/coverage.md."""
