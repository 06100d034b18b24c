"""The clients and servers for the tests of a server."""
