"""Topics without a server: what a subscription takes, beside sets of C++ and of Python."""
