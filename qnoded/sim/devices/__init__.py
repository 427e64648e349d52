"""Drivers of the simulated instruments: thin clients of the world's server, like any other driver to the node."""
