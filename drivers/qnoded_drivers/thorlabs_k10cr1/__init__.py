"""Thorlabs K10CR1: motorized rotation mounts for wave plates, over APT."""
