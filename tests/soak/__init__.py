"""An hour of everything that clients and handlers may do, after which nothing may be left of it."""
