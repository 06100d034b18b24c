"""Subscriptions of connections, and what is published to them."""
