"""Thorlabs TC200: the heater of a crystal oven."""
