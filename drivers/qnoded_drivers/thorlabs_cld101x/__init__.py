"""Thorlabs CLD1010LP, CLD1011LP, CLD1015 and ITC4000: current and temperature of a laser diode, SCPI over USB."""
