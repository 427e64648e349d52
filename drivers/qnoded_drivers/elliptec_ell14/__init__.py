"""Thorlabs Elliptec ELL14 and ELL18: rotation mounts for wave plates, several on one bus."""
