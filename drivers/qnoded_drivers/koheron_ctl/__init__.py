"""Koheron CTL200, CTL300E and CTL20: current and temperature of a laser diode in a butterfly package, by text."""
